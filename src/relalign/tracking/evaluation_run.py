"""What the evaluation of all models adds to the runs that trained them: final numbers, files, models.

`import mlflow` and opening a store take seconds, more than most evaluations: so the stage that collects all runs
does it once, and each evaluation need not.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from relalign.settings.tracking import Tracking
from relalign.tracking.logged_model import LoggedModel, log_model, register_champion
from relalign.tracking.records import final_metrics, git_state
from relalign.tracking.store import connect, side_thread

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient


@dataclass(frozen=True)
class Evaluation:
    """What was measured of one model; `name` is for a run that has to be made for it.

    Of `metrics` the run shows a few (`relalign.tracking.records.TEST`); `files` are kept whole.
    """

    name: str
    tags: Mapping[str, str]
    model_sha256: str
    metrics: Mapping[str, float | int]
    files: Sequence[Path] = ()
    model: LoggedModel | None = None


@dataclass(frozen=True)
class Champion:
    """The best of the evaluated models, to be registered as `name` with the alias `champion`, and why it is."""

    of: Evaluation
    model: LoggedModel
    why: str


def add_evaluations(
    settings: Tracking,
    evaluations: Sequence[Evaluation],
    *,
    root: Path,
    dataset: str,
    champion: Champion | None = None,
) -> bool:
    """Add each to the newest run with its tags and model, or to a new one. False if that failed.

    What a run already holds is left alone, so adding again changes nothing. Numbers of all runs come first, the
    champion next, other models last: what fails late has lost least.
    """
    if not settings.enabled:
        return True
    side = side_thread(settings, root, uploads=True)
    side.submit(lambda: _add_all(settings, evaluations, root, dataset, champion))
    return side.close()


def _add_all(
    settings: Tracking,
    evaluations: Sequence[Evaluation],
    root: Path,
    dataset: str,
    champion: Champion | None,
) -> None:
    client, experiment = connect(settings, root, dataset)
    state = git_state(root)
    runs = [_add(client, experiment, evaluation, state) for evaluation in evaluations]
    for parent in {run.data.tags["mlflow.parentRunId"] for run in runs if "mlflow.parentRunId" in run.data.tags}:
        if client.get_run(parent).info.status == "RUNNING":
            client.set_terminated(parent)
    if champion:
        register_champion(
            client,
            f"{settings.experiment}-{dataset}",
            runs[list(evaluations).index(champion.of)],
            champion.model,
            sha256=champion.of.model_sha256,
            why=champion.why,
        )
    for run, evaluation in zip(runs, evaluations, strict=True):
        if evaluation.model and not (run.outputs and run.outputs.model_outputs):
            log_model(client, run, evaluation.model)


def _add(client: "MlflowClient", experiment: str, evaluation: Evaluation, state: Mapping[str, str]) -> "Run":
    from mlflow.entities import Metric

    wanted = {**evaluation.tags, "model_sha256": evaluation.model_sha256}  # models of two seeds may be equal
    found = client.search_runs(
        [experiment],
        filter_string=" and ".join(f"tags.{key} = '{value}'" for key, value in wanted.items()),
        order_by=["attributes.start_time DESC"],
        max_results=1,
    )
    run = found[0] if found else client.create_run(experiment, run_name=evaluation.name, tags={**wanted, **state})
    held, now = run.data.metrics, int(time.time() * 1000)
    shown = final_metrics(evaluation.metrics)
    fresh = [Metric(key, value, now, 0) for key, value in shown.items() if held.get(key) != value]
    if fresh:
        client.log_batch(run.info.run_id, metrics=fresh)
        for file in evaluation.files:
            client.log_artifact(run.info.run_id, str(file))
    if not found:
        client.set_terminated(run.info.run_id)
    return run
