"""Everything the report is made of, read once; what an optional file does not say stays empty."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relalign.errors import RelalignError
from relalign.layout import Layout
from relalign.settings import Params
from relalign.system.artifacts import read_manifest
from relalign.training.history import read_history


@dataclass(frozen=True)
class Licence:
    """On what terms something was used, and whom to name for it."""

    name: str
    licence: str
    attribution: str
    origin: str


@dataclass(frozen=True)
class Run:
    """One trained method with one seed: its final numbers and its history, a row an epoch."""

    method: str
    seed: int
    metrics: Mapping[str, float]
    history: list[dict[str, float]]


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object, or `RelalignError` naming the file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RelalignError(f"{path} is missing. Run `snakemake --cores all` to make it.") from None
    except ValueError as error:
        raise RelalignError(f"{path} is not JSON ({error}). Delete it and run the pipeline again.") from None
    if not isinstance(content, dict):
        raise RelalignError(f"{path} holds no JSON object. Delete it and run the pipeline again.")
    return content


def read_runs(params: Params, layout: Layout) -> list[Run]:
    """All runs of the comparison, in the order of `methods` and `seeds`."""
    runs = []
    for method in params.methods:
        for seed in params.seeds:
            folder = layout.run(method, seed)
            runs.append(Run(method, seed, read_json(folder / "metrics.json"), read_history(folder / "model")))
    return runs


def read_licences(params: Params) -> tuple[list[Licence], list[Licence]]:
    """Licences of the data and of the encoders."""
    sources = params.datasets[params.dataset].sources
    data = [Licence(name, source.licence, source.attribution, source.url) for name, source in sources.items()]
    encoders = []
    for side in ("image", "text"):
        name = getattr(params.encoders, side)
        encoder = params.encoder[name]
        if encoder.source is None:
            origin = f"{encoder.model}" + (f" at {encoder.revision}" if encoder.revision else "")
            encoders.append(Licence(name, "see the model's page", "see the model's page", origin))
        else:
            source = encoder.source
            encoders.append(Licence(name, source.licence, source.attribution, source.url))
    return data, encoders


def versions(layout: Layout, runs: list[Run]) -> dict[str, str]:
    """Versions that made the results, as the first model's manifest has them."""
    manifest = read_manifest(layout.run(runs[0].method, runs[0].seed) / "model")
    return {"relalign": manifest["relalign"], **manifest["packages"]}


@dataclass(frozen=True)
class Validation:
    """What validation looked at and did: counts by reason, the most frequent first."""

    images: int
    captions: int
    skipped_images: dict[str, int]
    skipped_captions: dict[str, int]
    converted: dict[str, int]
    duplicate_groups: int
    dropped_for_leaks: int


def read_validation(layout: Layout) -> Validation | None:
    """The record of validation, or None where it left none."""
    path = layout.pairs / "validation.json"
    if not path.is_file():
        return None
    record = read_json(path)
    images, captions, duplicates = record["images"], record["captions"], record["near_duplicates"]
    return Validation(
        images["seen"],
        captions["seen"],
        _counts(images["skipped"]),
        _counts(captions["skipped"]),
        _counts(images["converted"]),
        duplicates["groups"],
        len(duplicates["dropped"]),
    )


def _counts(named: Mapping[str, list[Any]]) -> dict[str, int]:
    return {
        reason: len(named[reason]) for reason in sorted(named, key=lambda reason: (-len(named[reason]), reason))
    }
