"""What an evaluation leaves behind: a table of queries, a table of intervals, and flat numbers."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from relalign.errors import RelalignError
from relalign.metrics.measurement import Measurement, recall_parts, statistic
from relalign.metrics.resampling import (
    draw_weights,
    percentile_interval,
    resampled_means,
    resampled_medians,
)
from relalign.settings.evaluate import Evaluate
from relalign.system.artifacts import read_manifest

SUMMARY_METRICS = (
    "rsum",
    "rerank/rsum",
    "i2t/recall@1",
    "t2i/recall@1",
    "i2i/ndcg@10",
    "t2t/ndcg@10",
    "isd/singular",
)
ATTENTION_FILE = "attention.json"
SUMMARY = ["metric", "value", "low", "high", "queries", "images"]


def query_table(measurements: Sequence[Measurement]) -> pd.DataFrame:
    """The long table `metric, query_id, image_id, value`, in the order of the measurements."""
    names = [item.name for item in measurements]
    return pd.DataFrame(
        {
            "metric": pd.Categorical(
                np.repeat(names, [len(item.values) for item in measurements]), categories=names
            ),
            "query_id": np.concatenate([item.query_ids for item in measurements]),
            "image_id": np.concatenate([item.image_ids for item in measurements]),
            "value": np.concatenate([item.values for item in measurements]),
        }
    )


def read_query_table(folder: Path) -> pd.DataFrame:
    """The table of a published evaluation folder, or `RelalignError` naming what is missing or altered."""
    read_manifest(folder, verify=True)
    return pd.read_parquet(folder / "queries.parquet")


def resampled(
    table: pd.DataFrame, images: NDArray[np.int64], weights: NDArray[np.float64]
) -> tuple[dict[str, float], dict[str, NDArray[np.float64]]]:
    """Value and bootstrap estimates of every metric of a query table, sums of recalls added.

    `weights` says how often each of the ascending `images` is drawn in each sample; all metrics (and runs)
    share it, so that sums and differences of metrics can be formed sample by sample.
    """
    position = np.searchsorted(images, table["image_id"].to_numpy())
    values: dict[str, float] = {}
    estimates: dict[str, NDArray[np.float64]] = {}
    for name, rows in table.groupby("metric", sort=False, observed=True).indices.items():
        metric, column = str(name), table["value"].to_numpy()[rows]
        median = statistic(metric) == "median"
        values[metric] = float(np.median(column) if median else np.mean(column))
        estimate = resampled_medians if median else resampled_means
        estimates[metric] = estimate(weights, column, position[rows])
    for total in sums_of_recalls(list(values)):
        parts = recall_parts(total, list(values))
        values[total] = sum(values[part] for part in parts)
        estimates[total] = np.sum([estimates[part] for part in parts], axis=0)
    return values, estimates


def sums_of_recalls(names: Sequence[str]) -> list[str]:
    """The sums that recalls of these names add up to: `rerank/i2t/recall@1` belongs to `rerank/rsum`."""
    totals = [name.rpartition("/")[0].rpartition("/")[0] for name in names if "/recall@" in name]
    return [f"{prefix}/rsum".lstrip("/") for prefix in dict.fromkeys(totals)]


def summary(table: pd.DataFrame, settings: Evaluate) -> pd.DataFrame:
    """A row a metric: value, interval, number of queries and of the images they belong to."""
    images = np.unique(table["image_id"].to_numpy())
    weights = draw_weights(len(images), settings.bootstrap_samples, settings.resampling_seed)
    values, estimates = resampled(table, images, weights)
    rows = []
    for name, value in values.items():
        low, high = percentile_interval(estimates[name], settings.confidence)
        of_metric = table[table["metric"].isin(recall_parts(name, list(values)) or [name])]
        per_metric = of_metric.groupby("metric", observed=True).size()
        rows.append((name, value, low, high, int(per_metric.max()), of_metric["image_id"].nunique()))
    return pd.DataFrame(rows, columns=SUMMARY)


def write_evaluation(
    draft: Path, measurements: Sequence[Measurement], scalars: Mapping[str, float], settings: Evaluate
) -> dict[str, float]:
    """Write `queries.parquet` and `summary.csv` into a folder being published; returns the flat metrics.

    `scalars` are metrics that are no average over queries (they have no interval). Raises `RelalignError` on a
    number that is not finite.
    """
    _check_finite({item.name: item.value for item in measurements} | dict(scalars))
    table = query_table(measurements)
    table.to_parquet(draft / "queries.parquet", index=False)
    intervals = summary(table, settings)
    intervals.to_csv(draft / "summary.csv", index=False, lineterminator="\n")
    return dict(zip(intervals["metric"], intervals["value"].tolist(), strict=True)) | dict(scalars)


def _check_finite(numbers: Mapping[str, float]) -> None:
    for name, value in numbers.items():
        if not np.isfinite(value):
            raise RelalignError(f"{name} came out as {value}. Look for rows of evaluation data it cannot measure.")


def read_metrics(path: Path) -> dict[str, float]:
    """The flat numbers of a metrics.json, or `RelalignError` naming the file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RelalignError(f"{path} is missing. Evaluate this run first.") from None
    except ValueError as error:
        raise RelalignError(f"{path} is not JSON ({error}). Delete it and evaluate again.") from None
    if not isinstance(content, dict) or not all(isinstance(value, int | float) for value in content.values()):
        raise RelalignError(f"{path} is no flat mapping of names to numbers. Evaluate this run again.")
    return content
