"""Systems to be compared: their runs, measured on the same queries, and what each image contributes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from relalign.errors import RelalignError
from relalign.evaluation.result_files import read_metrics, read_query_table, resampled
from relalign.metrics.measurement import recall_parts, statistic
from relalign.metrics.resampling import sums_by_image


@dataclass(frozen=True)
class RunResult:
    """One evaluated run: its flat metrics and its table of queries; `origin` names it in errors."""

    origin: str
    metrics: Mapping[str, float]
    queries: pd.DataFrame


@dataclass(frozen=True)
class System:
    """A system over its seeds.

    `values[metric]` has an entry a seed; `estimates[metric]` are bootstrap estimates, a row a seed;
    `contributions[metric]`, of metrics that are means, sum over images to the mean over seeds; `sizes[metric]`
    is the number of queries and of their images.
    """

    values: dict[str, list[float]]
    estimates: dict[str, NDArray[np.float64]]
    contributions: dict[str, NDArray[np.float64]]
    sizes: dict[str, tuple[int, int]]


def read_run(run: Path) -> RunResult:
    """An evaluated run folder: `metrics.json` and `evaluation/`."""
    return RunResult(str(run), read_metrics(run / "metrics.json"), read_query_table(run / "evaluation"))


def check_same_queries(runs: Sequence[RunResult]) -> None:
    """Raise `RelalignError` if two runs give a metric for different queries."""
    seen: dict[str, tuple[str, NDArray[np.int64]]] = {}
    for run in runs:
        for metric, rows in run.queries.groupby("metric", sort=False, observed=True):
            ids = rows[["query_id", "image_id"]].to_numpy()
            origin, expected = seen.setdefault(str(metric), (run.origin, ids))
            if not np.array_equal(ids, expected):
                raise RelalignError(
                    f"{run.origin} and {origin} were measured on different queries ({metric}), so they cannot "
                    "be compared pair by pair. Evaluate both on the same split."
                )


def summarise(runs: Sequence[RunResult], images: NDArray[np.int64], weights: NDArray[np.float64]) -> System:
    """Gather runs that differ by seed. `images` are all image ids, ascending; `weights` as in `resampled`.

    Metrics that only some of the runs have are left out.
    """
    per_run = [resampled(run.queries, images, weights)[1] for run in runs]
    shared = [name for name in runs[0].metrics if all(name in run.metrics for run in runs)]
    table = runs[0].queries
    position = np.searchsorted(images, table["image_id"].to_numpy())
    contributions: dict[str, NDArray[np.float64]] = {}
    sizes = {}
    for name, rows in table.groupby("metric", sort=False, observed=True).indices.items():
        value = np.mean([run.queries["value"].to_numpy()[rows] for run in runs], axis=0)
        contributions[str(name)] = sums_by_image(value / len(rows), position[rows], len(images))[0]
        sizes[str(name)] = (len(rows), len(np.unique(position[rows])))
    for total in (name for name in shared if name not in contributions):
        parts = recall_parts(total, list(contributions))
        if parts:
            contributions[total] = np.sum([contributions[part] for part in parts], axis=0)
            sizes[total] = max(sizes[part] for part in parts)
    return System(
        values={name: [run.metrics[name] for run in runs] for name in shared},
        estimates={name: np.stack([one[name] for one in per_run]) for name in per_run[0]},
        contributions={name: value for name, value in contributions.items() if statistic(name) == "mean"},
        sizes=sizes,
    )
