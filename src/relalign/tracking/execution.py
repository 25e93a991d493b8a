"""One MLflow run an execution of the pipeline: the parent of the trainings that it made.

An execution is what is trained, not who started it: the parameters (as `results/<dataset>/params.json` records
them) and the bytes of this package's code. So Snakemake and DVC, jobs that run at once, and a run that is killed
and goes on later all mean the same one, and what trains again unchanged adds to it. The commit is a tag and no
part of it: one between a kill and its continuation, or one of documents only, makes no other execution.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relalign.system.artifacts import pretty_json, sha256_file
from relalign.tracking.records import git_state

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True)
class Execution:
    """What one execution of the pipeline is recognised by: all of its parameters, but for where it is recorded."""

    dataset: str
    parameters: Mapping[str, Any]

    def tags(self, root: Path) -> dict[str, str]:
        """What identifies it (`execution`, of which `params_sha256` is one half), and what it began from.

        `dvc_lock_sha256` is of dvc.lock as it was then: what came out is recorded in the file afterwards.
        """
        params = hashlib.sha256(pretty_json(self.parameters).encode()).hexdigest()
        whole = hashlib.sha256(f"{self.dataset} {params}".encode())
        for file in sorted(PACKAGE.rglob("*.py")):
            whole.update(file.read_bytes())
        lock = root / "dvc.lock"
        started_from = {"dvc_lock_sha256": sha256_file(lock)} if lock.is_file() else {}
        return {
            "execution": whole.hexdigest(),
            "params_sha256": params,
            "dataset": self.dataset,
            **started_from,
            **git_state(root),
        }


def parent_run(client: "MlflowClient", experiment: str, execution: Execution, root: Path) -> str:
    """The id of an execution's run, found or made; whoever calls holds the lock of the store."""
    tags = execution.tags(root)
    wanted = f"tags.execution = '{tags['execution']}'"
    found = client.search_runs([experiment], filter_string=wanted, max_results=1)
    if found:
        if found[0].info.status != "RUNNING":  # finished, and trains again
            client.update_run(found[0].info.run_id, status="RUNNING")
        return str(found[0].info.run_id)
    run = client.create_run(experiment, run_name=f"pipeline {tags['execution'][:7]}", tags=tags)
    client.log_text(run.info.run_id, pretty_json(execution.parameters), "params.json")
    return str(run.info.run_id)
