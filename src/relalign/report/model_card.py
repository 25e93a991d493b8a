"""`README.md` of an exported model: a model card as the Hugging Face hub reads it."""

from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from relalign import __version__
from relalign.comparison.stage import read_comparison
from relalign.data.pairs import read_pairs
from relalign.layout import Layout
from relalign.methods import trained_method
from relalign.report.comparison_table import HEADLINE
from relalign.report.sources import read_licences
from relalign.retrieval.exported import MODEL, Exported
from relalign.settings import Params
from relalign.settings.encoder import Encoder
from relalign.system.artifacts import MANIFEST, read_manifest

CARD = "README.md"
_TRAINING = ("epochs", "batch_size", "learning_rate", "encoder_learning_rate", "precision")


def write_model_card(
    draft: Path, exported: Exported, params: Params, layout: Layout, *, name: str, width: int, onnx: bool
) -> None:
    """Write the card of what `relalign.retrieval.exported` has written into `draft`.

    `name` is that of the folder to be, `width` that of an embedding; `onnx` says whether both towers are there.
    Numbers are the run's own on the test split, with their intervals; without an evaluation the card says so.
    """
    rows, seeds = _numbers(exported, layout)
    data, encoders = read_licences(params)
    training = read_manifest(draft / MODEL)["parameters"]["training"]
    algorithm = params.settings_of(exported.method).algorithm
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True)  # noqa: S701 (Markdown)
    environment.filters["cell"] = lambda text: " ".join(str(text).replace("|", r"\|").split())
    template = environment.from_string(files("relalign.report").joinpath("model_card.md.j2").read_text("utf-8"))
    card = template.render(
        card_data=_metadata(exported, rows, name=name).to_yaml(),
        name=name,
        summary=str(import_module(f"relalign.methods.{algorithm}").__doc__).partition("\n")[0],
        version=__version__,
        exported=exported,
        counts=_counts(exported, params, layout),
        width=width,
        onnx=onnx,
        rows=[_cells(row, seeds) for row in rows],
        seeds=seeds,
        confidence=f"{params.evaluate.confidence:.0%}",
        encoders={side: _encoder(name, getattr(exported, side)) for side, name in params.encoders},
        training={key: training[key] for key in _TRAINING} if trained_method(algorithm) else {},
        licences=[*data, *encoders],
    )
    (draft / CARD).write_text(ModelCard(card).content, encoding="utf-8")


def _metadata(exported: Exported, rows: list[dict[Any, Any]], *, name: str) -> ModelCardData:
    results = [
        EvalResult(
            task_type="image-text-retrieval",
            dataset_type=exported.dataset,
            dataset_name=exported.dataset,
            dataset_split="test",
            metric_type=row["metric"],
            metric_name=row["metric"],
            metric_value=round(row["value"], 4),
        )
        for row in rows
    ]
    return ModelCardData(
        library_name="relalign",
        license="other",
        license_name="those-of-its-data-and-encoders",
        license_link=f"{CARD}#licences-and-attributions",
        pipeline_tag="feature-extraction",
        tags=["image-text-retrieval", "relalign", exported.method],
        model_name=name,
        eval_results=results or None,
    )


def _numbers(exported: Exported, layout: Layout) -> tuple[list[dict[Any, Any]], int]:
    """The headline metrics of the run, a row each, and over how many seeds each `mean` is; 0 without means."""
    evaluation = layout.run(exported.method, exported.seed) / "evaluation"
    if not (evaluation / MANIFEST).is_file():
        return [], 0
    read_manifest(evaluation)
    measured = pd.read_csv(evaluation / "summary.csv").set_index("metric")
    rows = [{"metric": name, **measured.loc[name].to_dict()} for name in HEADLINE if name in measured.index]
    comparison = layout.results / "comparison.csv"
    if not comparison.is_file():
        return rows, 0
    table = read_comparison(comparison)
    means = table.entries.get(exported.method, {})
    if not all(row["metric"] in means for row in rows):
        return rows, 0
    return [{**row, "mean": means[row["metric"]].value} for row in rows], table.seeds


def _cells(row: dict[Any, Any], seeds: int) -> list[str]:
    cells = [row["metric"], f"{row['value']:.4g}", f"{row['low']:.4g} to {row['high']:.4g}"]
    cells += [f"{row['queries']:.0f}", f"{row['images']:.0f}"]
    return [*cells, f"{row['mean']:.4g}"] if seeds else cells


def _counts(exported: Exported, params: Params, layout: Layout) -> str:
    rotated = exported.seed if params.datasets[params.dataset].rotate_validation else None
    pairs = read_pairs(layout, "train", rotated_by=rotated)
    return f"{pairs['image_id'].nunique():,} images with {len(pairs):,} captions"


def _encoder(name: str, encoder: Encoder) -> str:
    return f"{name}, frozen" if encoder.train_from is None else f"{name}, trained from `{encoder.train_from}`"
