"""What a run is described by: names that MLflow accepts, flat parameters, the code's version.

MLflow refuses '@' in a metric's name, so '@' becomes '_at_' (`i2t/recall@1` -> `i2t/recall_at_1`) and any other
refused character becomes '_'.
"""

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

from relalign.system.artifacts import canonical_json


def metric_name(name: str) -> str:
    """MLflow's name for one of ours: `i2t/recall@1` -> `i2t/recall_at_1`."""
    return re.sub(r"[^\w/. -]", "_", name.replace("@", "_at_"), flags=re.ASCII)


def flatten(parameters: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested parameters by dotted path: `{"a": {"b": 1}}` -> `{"a.b": "1"}`; lists and None as JSON."""
    flat: dict[str, str] = {}
    for key, value in parameters.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value if isinstance(value, str) else canonical_json(value)
    return flat


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
