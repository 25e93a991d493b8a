"""What the repository keeps of the study's runs, so that anyone can recount the verdicts without training.

For a dataset, docs/study/<dataset>-runs.parquet has a row a metric and image: `metric`, `image_id`, `queries` (how
many of the image's queries), and a column a run (`condition/variant/seed`), the mean over these queries; empty
where a run has no such metric. docs/study/<dataset>-runs.json has, for each run, its `metrics` (those of
metrics.json that the findings speak of) and its `history` (the columns of history.csv that they do).
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from relalign.comparison.paired import RunResult, check_same_queries, read_run
from relalign.errors import RelalignError
from relalign.metrics.measurement import SUM
from relalign.settings import Params
from relalign.study.layout import StudyLayout
from relalign.study.settings import Study
from relalign.system.artifacts import pretty_json, write_atomic

READ = r"(?:rerank/)?(?:i2t|t2i)/recall@\d+|(?:i2i|t2t)/ndcg@10|isd/(?:singular|distributed|annotated)"
SUMS = (SUM, f"rerank/{SUM}")
HISTORY = r"epoch|mix|image_trust|val/(?:rsum|isd/\w+)"
KEY = ["metric", "image_id", "queries"]
ROUNDING = 1e-3  # values are kept in float32
Where = tuple[str, str]  # a variant and a condition
Run = tuple[Where, int]  # and a seed


@dataclass(frozen=True)
class KeptRun:
    """One run: its numbers and queries as `summarise` reads them, and a row an epoch of its training."""

    result: RunResult
    history: pd.DataFrame


def kept_paths(root: Path, dataset: str) -> tuple[Path, Path]:
    """The table of images and the numbers of the runs."""
    stem = root / "docs/study" / f"{dataset}-runs"
    return stem.with_suffix(".parquet"), stem.with_suffix(".json")


def keep_runs(params: Params, study: Study, root: Path, dataset: str) -> None:
    """Keep what the runs of one dataset have left in `results`; without any, what is kept stays as it is.

    Raises `RelalignError` naming two runs whose queries differ.
    """
    found: dict[Run, tuple[RunResult, pd.DataFrame]] = {}
    for where, seeds in study.planned(dataset).items():
        for seed in seeds:
            folder = StudyLayout.of(root, dataset, where[1], params).run(where[0], seed)
            if (folder / "metrics.json").is_file():
                run = read_run(folder)
                queries = run.queries[run.queries["metric"].str.fullmatch(READ)]
                history = pd.read_csv(folder / "model/history.csv")
                found[where, seed] = RunResult(run.origin, run.metrics, queries), history
    if not found:
        return
    check_same_queries([run for run, _ in found.values()])
    columns = {_name(key): _by_image(run.queries) for key, (run, _) in found.items()}
    counts = pd.concat([one["queries"] for one in columns.values()]).groupby(level=[0, 1], sort=False).first()
    table = pd.DataFrame(
        {"queries": counts.astype(np.int32)} | {name: one["value"] for name, one in columns.items()}
    )
    numbers = {
        _name(key): {
            "metrics": {name: value for name, value in run.metrics.items() if _is_read(name)},
            "history": _columns(history),
        }
        for key, (run, history) in found.items()
    }
    paths = kept_paths(root, dataset)
    paths[0].parent.mkdir(parents=True, exist_ok=True)
    write_atomic(paths[0], table.reset_index().to_parquet(index=False, compression="zstd", compression_level=19))
    write_atomic(paths[1], pretty_json(numbers))


def read_kept(root: Path, dataset: str) -> dict[Run, KeptRun]:
    """The kept runs of one dataset; none if nothing is kept.

    Raises `RelalignError` naming a run whose numbers are not those of its images.
    """
    table_path, numbers_path = kept_paths(root, dataset)
    if not table_path.is_file() or not numbers_path.is_file():
        return {}
    table = pd.read_parquet(table_path)
    numbers: Mapping[str, Any] = json.loads(numbers_path.read_text(encoding="utf-8"))
    rows = np.repeat(np.arange(len(table)), table["queries"])
    queries = table[KEY[:2]].iloc[rows].reset_index(drop=True)
    queries["metric"] = pd.Categorical(queries["metric"], categories=pd.unique(table["metric"]))
    found = {}
    for name in table.columns[len(KEY) :]:
        values = table[name].to_numpy(dtype=np.float64)[rows]
        own = queries.assign(query_id=queries.index, value=values)[~np.isnan(values)]
        _check(name, numbers[name]["metrics"], own, table_path)
        result = RunResult(name, numbers[name]["metrics"], own.reset_index(drop=True))
        found[_key(name)] = KeptRun(result, pd.DataFrame(numbers[name]["history"], dtype=float))
    return found


def _check(name: str, metrics: Mapping[str, float], queries: pd.DataFrame, path: Path) -> None:
    for metric, mean in queries.groupby("metric", observed=True)["value"].mean().items():
        if abs(metrics.get(str(metric), np.nan) - mean) <= ROUNDING:
            continue
        raise RelalignError(
            f"{path}: {name} has {metric} {mean:.4f} by its images and {metrics.get(str(metric))} by its metrics. "
            "Take both files from one revision."
        )


def _by_image(queries: pd.DataFrame) -> pd.DataFrame:
    groups = queries.astype({"metric": str}).groupby(["metric", "image_id"], sort=False)["value"]
    return pd.DataFrame({"queries": groups.size(), "value": groups.mean().astype(np.float32)})


def _columns(history: pd.DataFrame) -> dict[str, list[float | None]]:
    return {
        name: [None if pd.isna(value) else float(value) for value in history[name]]
        for name in map(str, history)
        if re.fullmatch(HISTORY, name)
    }


def _is_read(name: str) -> bool:
    return name in SUMS or re.fullmatch(READ, name) is not None


def _name(key: Run) -> str:
    (variant, condition), seed = key
    return f"{condition}/{variant}/{seed}"


def _key(name: str) -> Run:
    condition, variant, seed = name.split("/")
    return (variant, condition), int(seed)
