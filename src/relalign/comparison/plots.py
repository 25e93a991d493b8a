"""What `dvc plots` draws: `training.csv` and `recall.csv`, a row a point, means over seeds."""

from collections.abc import Mapping

import pandas as pd

from relalign.layout import Layout
from relalign.settings import Params
from relalign.system.artifacts import write_atomic
from relalign.training.history import read_history


def write_plots(params: Params, layout: Layout, values: Mapping[str, Mapping[str, float]]) -> None:
    """Write both tables into `results/<dataset>/`; `values[method][metric]` are those of the comparison."""
    for name, table in (("training.csv", _training(params, layout)), ("recall.csv", _recall(values))):
        write_atomic(layout.results / name, table.to_csv(index=False, float_format="%.4f", lineterminator="\n"))


def _training(params: Params, layout: Layout) -> pd.DataFrame:
    rows = [
        {"epoch": int(row["epoch"]), "val/rsum": row["val/rsum"], "method": method}
        for method in params.methods
        for seed in params.seeds
        for row in read_history(layout.run(method, seed) / "model")
        if "val/rsum" in row
    ]
    table = pd.DataFrame(rows, columns=["epoch", "val/rsum", "method"])
    return table.groupby(["epoch", "method"], sort=False, as_index=False).mean()[list(table)]


def _recall(values: Mapping[str, Mapping[str, float]]) -> pd.DataFrame:
    rows = [
        {"method": method, "metric": metric, "recall": value}
        for method, held in values.items()
        for metric, value in held.items()
        if "/recall@" in metric and not metric.startswith("rerank/")
    ]
    return pd.DataFrame(rows)
