"""Comparing methods: mean over seeds, intervals, paired tests against a baseline.

With several seeds, intervals and tests hold for another training and other test images at once
(`relalign.metrics.crossed`); differences are paired seed by seed and image by image. With one seed, or unequally
many, they are over test images alone: captions of one image are not independent, so intervals resample images and
tests flip signs image by image. For each metric, the p-values of all methods are corrected together (Holm).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy.typing import NDArray

from relalign.comparison.paired import RunResult, System, check_same_queries, read_run, summarise
from relalign.comparison.plots import write_plots
from relalign.errors import RelalignError
from relalign.layout import Layout
from relalign.metrics.crossed import crossed_errors, interval, two_sided_p
from relalign.metrics.resampling import draw_weights, percentile_interval
from relalign.metrics.significance import holm, sign_flip_test
from relalign.orchestration.receipts import check_receipt
from relalign.settings import Params
from relalign.settings.evaluate import Evaluate
from relalign.system.artifacts import write_atomic


@dataclass(frozen=True)
class Entry:
    """One metric of one method; None where there is nothing to say.

    `value` is the mean over seeds and `seed_sd` their standard deviation (from two seeds on). Interval, numbers
    of queries and images exist for averages over queries; the last five compare with the baseline. Medians
    have intervals but no test.
    """

    value: float
    low: float | None = None
    high: float | None = None
    seed_sd: float | None = None
    queries: int | None = None
    images: int | None = None
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    p: float | None = None
    p_holm: float | None = None


@dataclass(frozen=True)
class Comparison:
    """`entries[method][metric]`, methods in the order of params.yaml; a metric a method lacks is not there."""

    baseline: str
    seeds: int
    entries: Mapping[str, Mapping[str, Entry]]


def compare(params: Params, layout: Layout) -> None:
    """Write `results/<dataset>/comparison.csv`: a row a method, `report.baseline` as the baseline.

    `training.csv` and `recall.csv` beside it are for `dvc plots`.
    """
    for method in params.methods:
        for seed in params.seeds:
            check_receipt(layout, method=method, seed=seed)
    systems = {method: [read_run(layout.run(method, seed)) for seed in params.seeds] for method in params.methods}
    comparison = compare_systems(systems, baseline=params.report.baseline, settings=params.evaluate)
    write_comparison(comparison, layout.results / "comparison.csv")
    values = {
        method: {metric: entry.value for metric, entry in entries.items()}
        for method, entries in comparison.entries.items()
    }
    write_plots(params, layout, values)


def compare_systems(
    systems: Mapping[str, Sequence[RunResult]], *, baseline: str, settings: Evaluate
) -> Comparison:
    """Compare systems, each a list of runs (seeds), that were all measured on the same queries.

    Raises `RelalignError` naming two runs whose queries differ.
    """
    runs = [run for members in systems.values() for run in members]
    check_same_queries(runs)
    images = np.unique(np.concatenate([run.queries["image_id"].to_numpy() for run in runs]))
    weights = draw_weights(len(images), settings.bootstrap_samples, settings.resampling_seed)
    summaries = {name: summarise(members, images, weights) for name, members in systems.items()}
    entries: dict[str, dict[str, Entry]] = {name: {} for name in systems}
    for metric in dict.fromkeys(metric for system in summaries.values() for metric in system.values):
        for name, entry in _compare_metric(metric, summaries, baseline, settings).items():
            entries[name][metric] = entry
    return Comparison(baseline, min(map(len, systems.values())), entries)


def _compare_metric(
    metric: str, systems: Mapping[str, System], baseline: str, settings: Evaluate
) -> dict[str, Entry]:
    entries = {
        name: _own_numbers(metric, system, settings) for name, system in systems.items() if metric in system.values
    }
    others = [name for name in entries if name != baseline]
    if baseline not in entries or not others:
        return entries
    reference = systems[baseline]
    for name in others:
        entries[name] = _difference(entries[name], metric, systems[name], reference, settings)
    if metric in reference.contributions:
        p_values = _p_values(metric, [systems[name] for name in others], reference, settings)
        for name, p, corrected in zip(others, p_values.tolist(), holm(p_values).tolist(), strict=True):
            entries[name] = replace(entries[name], p=p, p_holm=corrected)
    return entries


def _p_values(
    metric: str, systems: Sequence[System], reference: System, settings: Evaluate
) -> Float[NDArray[np.float64], " system"]:
    """Over seeds and images where all have equally many seeds, of two or more; otherwise over images alone."""
    pairs = [_paired(metric, system, reference) for system in systems]
    images = reference.sizes[metric][1]
    if images > 1 and all(pair is not None and len(pair[0]) > 1 for pair in pairs):
        known = [pair for pair in pairs if pair is not None]
        errors = [crossed_errors(*pair, images) for pair in known]
        return two_sided_p(np.array([values.mean() for values, _ in known]), errors)
    differences = [system.contributions[metric] - reference.contributions[metric] for system in systems]
    return sign_flip_test(
        np.stack(differences, axis=1), permutations=settings.permutations, seed=settings.resampling_seed
    )


def _paired(
    metric: str, system: System, reference: System
) -> tuple[Float[NDArray[np.float64], " seed"], Float[NDArray[np.float64], "seed sample"]] | None:
    """Differences and their bootstrap estimates seed by seed; None where one side has more seeds."""
    values = [np.array(one.values[metric]) for one in (system, reference)]
    if len(values[0]) != len(values[1]):
        return None
    return values[0] - values[1], system.estimates[metric] - reference.estimates[metric]


def _own_numbers(metric: str, system: System, settings: Evaluate) -> Entry:
    values = system.values[metric]
    entry = Entry(float(np.mean(values)), seed_sd=float(np.std(values, ddof=1)) if len(values) > 1 else None)
    if metric not in system.estimates:
        return entry
    queries, images = system.sizes[metric]
    low, high = interval(np.array(values), system.estimates[metric], images, settings.confidence)
    return replace(entry, low=low, high=high, queries=queries, images=images)


def _difference(entry: Entry, metric: str, system: System, reference: System, settings: Evaluate) -> Entry:
    entry = replace(entry, difference=entry.value - float(np.mean(reference.values[metric])))
    if metric not in system.estimates or metric not in reference.estimates:
        return entry
    pair, images = _paired(metric, system, reference), system.sizes[metric][1]
    if pair is None:
        means = [one.estimates[metric].mean(0) for one in (system, reference)]
        low, high = percentile_interval(means[0] - means[1], settings.confidence)
    else:
        low, high = interval(*pair, images, settings.confidence)
    return replace(entry, difference_low=low, difference_high=high)


def write_comparison(comparison: Comparison, path: Path) -> None:
    """Write a row a method: `method,baseline,seeds`, then for each metric its value under its own name and,
    after the name, `:low`, `:high`, `:seed_sd` and the other fields of `Entry`; blank is None.
    """
    rows = []
    for method, entries in comparison.entries.items():
        row: dict[str, object] = {"method": method, "baseline": comparison.baseline, "seeds": comparison.seeds}
        for metric, entry in entries.items():
            row |= {_column(metric, field): value for field, value in asdict(entry).items()}
        rows.append(row)
    table = pd.DataFrame(rows, dtype=object)  # counts stay whole numbers beside blanks
    write_atomic(path, table.dropna(axis="columns", how="all").to_csv(index=False, lineterminator="\n"))


def _column(metric: str, field: str) -> str:
    return metric if field == "value" else f"{metric}:{field}"


def read_comparison(path: Path) -> Comparison:
    """What `write_comparison` wrote, or `RelalignError` naming the file."""
    try:
        table = pd.read_csv(path, dtype={"method": str, "baseline": str})
        methods, rows = table["method"].tolist(), table.to_dict("records")
        baseline, seeds = str(table["baseline"].iloc[0]), int(table["seeds"].iloc[0])
    except FileNotFoundError:
        raise RelalignError(f"{path} is missing. Run `relalign stage compare` to make it.") from None
    except (KeyError, IndexError, ValueError) as error:
        raise RelalignError(f"{path} is no comparison table ({error}). Delete it and compare again.") from None
    metrics = [name for name in table.columns[3:] if ":" not in name]
    entries = {
        method: {metric: _entry(metric, row) for metric in metrics if pd.notna(row[metric])}
        for method, row in zip(methods, rows, strict=True)
    }
    return Comparison(baseline, seeds, entries)


def _entry(metric: str, row: Mapping[Any, Any]) -> Entry:
    held = {field.name: row.get(_column(metric, field.name)) for field in fields(Entry)}
    known: dict[str, Any] = {
        name: int(value) if name in ("queries", "images") else float(value)
        for name, value in held.items()
        if value is not None and pd.notna(value)
    }
    return Entry(**known)
