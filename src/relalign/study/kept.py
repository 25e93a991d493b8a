"""What the repository keeps of the study's runs, so that anyone can recount the verdicts without training.

For a dataset, docs/study/<dataset>-runs.parquet has a row a metric and image: `metric`, `image_id`, `queries` (how
many of the image's queries), and a column a run (`condition/variant/seed`), the mean over these queries; empty
where a run has no such metric. docs/study/<dataset>-runs.json has, for each run, its `metrics` (those of
metrics.json that the findings speak of), its `history` (the columns of history.csv that they do) and `settings`,
a hash of what it was made with. As long as that is what study.yaml asks for, the run counts and is not made again:
a study of days goes on from what is kept. Code is not in the hash: who changes what a run computes removes both.
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
from relalign.study.record import run_fingerprint, search_gone_by
from relalign.study.settings import Study
from relalign.system.artifacts import pretty_json, write_atomic

READ = (
    r"(?:rerank/)?(?:i2t|t2i)/recall@\d+|(?:i2i|t2t)/ndcg@10|isd/(?:singular|distributed|annotated)"
    r"|geometry/(?:image|text)_neighbours@10"
)
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
    settings: str


def kept_paths(root: Path, dataset: str) -> tuple[Path, Path]:
    """The table of images and the numbers of the runs."""
    stem = root / "docs/study" / f"{dataset}-runs"
    return stem.with_suffix(".parquet"), stem.with_suffix(".json")


def keep_runs(params: Params, study: Study, root: Path, dataset: str) -> None:
    """Keep what the runs of one dataset have left in `results`, beside what is kept and still asked for.

    Raises `RelalignError` naming two runs whose queries differ.
    """
    wanted = wanted_runs(params, study, root, dataset)
    before = _read(root, dataset)
    left: list[RunResult] = []
    columns, numbers = {}, {}
    for (where, seed), settings in wanted.items():
        name, folder = _name((where, seed)), StudyLayout.of(root, dataset, where[1], params).run(where[0], seed)
        if (folder / "metrics.json").is_file():
            run, history = read_run(folder), pd.read_csv(folder / "model/history.csv")
            left.append(run)
            columns[name] = _by_image(run.queries[run.queries["metric"].str.fullmatch(READ)])
            metrics = {name: value for name, value in run.metrics.items() if _is_read(name)}
            numbers[name] = {"settings": settings, "metrics": metrics, "history": _columns(history)}
        elif before is not None and before.numbers.get(name, {}).get("settings") == settings:
            columns[name], numbers[name] = before.column(name), before.numbers[name]
    if not columns:
        return
    check_same_queries(left)
    counts = _counts(columns)
    table = pd.DataFrame(
        {"queries": counts.astype(np.int32)} | {name: one["value"] for name, one in columns.items()}
    )
    paths = kept_paths(root, dataset)
    paths[0].parent.mkdir(parents=True, exist_ok=True)
    write_atomic(paths[0], table.reset_index().to_parquet(index=False, compression="zstd", compression_level=19))
    write_atomic(paths[1], pretty_json(numbers))


def wanted_runs(params: Params, study: Study, root: Path, dataset: str) -> dict[Run, str]:
    """Every run that study.yaml asks for on a dataset, with the hash of what it is to be made with."""
    searches = {
        regime: search_gone_by(params, study, root, dataset, regime) for regime in study.regimes_of(dataset)
    }
    return {
        (where, seed): settings
        for where, seeds in study.planned(dataset).items()
        for search in [searches[study.search_of(where[1])]]
        for settings in [run_fingerprint(params, study, dataset, where, search)]
        for seed in seeds
    }


def kept_settings(root: Path, dataset: str) -> dict[Run, str]:
    """The hash of what each kept run was made with."""
    path = kept_paths(root, dataset)[1]
    if not path.is_file():
        return {}
    return {_key(name): run["settings"] for name, run in json.loads(path.read_text(encoding="utf-8")).items()}


def read_kept(root: Path, dataset: str) -> dict[Run, KeptRun]:
    """The kept runs of one dataset; none if nothing is kept.

    Raises `RelalignError` naming a run whose numbers are not those of its images.
    """
    kept = _read(root, dataset)
    if kept is None:
        return {}
    table, numbers, table_path = kept.table, kept.numbers, kept_paths(root, dataset)[0]
    rows = np.repeat(np.arange(len(table)), table["queries"])
    queries = table[KEY[:2]].iloc[rows].reset_index(drop=True)
    queries["metric"] = pd.Categorical(queries["metric"], categories=pd.unique(table["metric"]))
    found = {}
    for name in table.columns[len(KEY) :]:
        values = table[name].to_numpy(dtype=np.float64)[rows]
        own = queries.assign(query_id=queries.index, value=values)[~np.isnan(values)]
        _check(name, numbers[name]["metrics"], own, table_path)
        result = RunResult(name, numbers[name]["metrics"], own.reset_index(drop=True))
        history = pd.DataFrame(numbers[name]["history"], dtype=float)
        found[_key(name)] = KeptRun(result, history, numbers[name]["settings"])
    return found


@dataclass(frozen=True)
class _Files:
    """Both files of a dataset as they are."""

    table: pd.DataFrame
    numbers: Mapping[str, Any]

    def column(self, name: str) -> pd.DataFrame:
        """What `_by_image` gave for one run."""
        own = self.table.set_index(KEY[:2])[["queries", name]].dropna()
        return own.rename(columns={name: "value"})


def _read(root: Path, dataset: str) -> _Files | None:
    table, numbers = kept_paths(root, dataset)
    if not table.is_file() or not numbers.is_file():
        return None
    return _Files(pd.read_parquet(table), json.loads(numbers.read_text(encoding="utf-8")))


def _counts(columns: Mapping[str, pd.DataFrame]) -> pd.Series:
    """How many queries each metric has of each image; `RelalignError` naming a run that has other ones."""
    counts: pd.Series | None = None
    for name, one in columns.items():
        known = one["queries"] if counts is None else counts.combine_first(one["queries"])
        if counts is not None and not known.loc[one.index].equals(one["queries"].astype(known.dtype)):
            raise RelalignError(
                f"{name} was measured on other queries than the runs before it, some of which are kept in "
                "docs/study. Remove what was made of older data there, or evaluate it on the same split."
            )
        counts = known
    assert counts is not None  # noqa: S101 (there are columns)
    return counts.sort_index()


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
