"""What a run is described by: a few metrics in three groups, flat parameters, the code's version.

MLflow's pages make a section of charts of what stands before a metric's last '/', and a chart of each metric. So
there are a few numbers in each of three groups, `test/`, `train/` and `validation/`, and in `train_parts/` what
only some methods have. All numbers are in the run's files `history.csv` and `metrics.json`. MLflow refuses '@' in
a name: it becomes '_at_'.
"""

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

from relalign.system.artifacts import canonical_json

TRAINING = ("loss/total", "learning_rate", "temperature")
VALIDATION = ("rsum", "i2t/recall@1", "t2i/recall@1", "i2i/ndcg@10", "t2t/ndcg@10", "isd/singular")
TEST = (
    *("rsum", "i2t/recall@1", "i2t/recall@5", "i2t/recall@10", "t2i/recall@1", "t2i/recall@5", "t2i/recall@10"),
    *("i2t/median_rank", "t2i/median_rank", "i2i/ndcg@10", "t2t/ndcg@10", "i2i/map@r", "t2t/map@r"),
    *("mixed/i2it/ndcg@10", "mixed/t2it/ndcg@10", "rerank/rsum", "rerank/i2t/recall@1", "rerank/t2i/recall@1"),
    "isd/singular",
)


def metric_name(name: str, group: str = "") -> str:
    """MLflow's name for one of ours: `i2t/recall@1` in the group `test` -> `test/i2t_recall_at_1`."""
    plain = re.sub(r"[^\w. -]", "_", name.replace("@", "_at_"), flags=re.ASCII)
    return f"{group}/{plain}" if group else plain


def epoch_metrics(row: Mapping[str, float | int]) -> dict[str, float]:
    """What a row of the training's history shows in the charts of a run."""
    chosen = {f"val/{name}": metric_name(name, "validation") for name in VALIDATION}
    others = (name for name in row if name != "epoch" and not name.startswith("val/"))
    chosen |= {name: metric_name(name, "train" if name in TRAINING else "train_parts") for name in others}
    return {shown: float(row[name]) for name, shown in chosen.items() if name in row}


def final_metrics(metrics: Mapping[str, float | int]) -> dict[str, float]:
    """What an evaluation shows in the table of runs."""
    return {metric_name(name, "test"): float(metrics[name]) for name in TEST if name in metrics}


def flatten(parameters: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested parameters by dotted path: `{"a": {"b": 1}}` -> `{"a.b": "1"}`; lists and None as JSON."""
    flat: dict[str, str] = {}
    for key, value in parameters.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value if isinstance(value, str) else canonical_json(value)
    return flat


def run_parameters(parameters: Mapping[str, Any], tags: Mapping[str, str]) -> dict[str, str]:
    """What a run's page lists as parameters: its tags, and a method's own settings as `settings.<key>`.

    MLflow's comparison begins with the first three by name of those that differ. So these are `method`, `seed` and
    `settings.algorithm`.
    """
    named = {"settings" if key == "method" else key: value for key, value in parameters.items()}
    return {**flatten(named), **tags}


class RunIdentity(TypedDict):
    """A run's name, and the tags by which an evaluation finds the run of its training."""

    name: str
    tags: dict[str, str]


def run_identity(dataset: str, method: str, seed: int) -> RunIdentity:
    """Of one method with one seed on one dataset."""
    tags = {"dataset": dataset, "method": method, "seed": str(seed)}
    return {"name": f"{method}/seed{seed}", "tags": tags}


def git_state(root: Path) -> dict[str, str]:
    """Tags that say which code ran: the commit, and whether tracked files differed from it. Empty without git."""

    def git(*arguments: str) -> str:
        command = ["git", "--no-optional-locks", "-C", str(root), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout.strip()

    try:
        changed = bool(git("status", "--porcelain", "--untracked-files=no"))
        # The first two are how MLflow's pages know a run's source.
        return {
            "mlflow.source.name": "relalign",
            "mlflow.source.git.commit": git("rev-parse", "HEAD"),
            "git_dirty": str(changed).lower(),
        }
    except (OSError, subprocess.SubprocessError):
        return {}
