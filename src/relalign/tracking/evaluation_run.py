"""The final numbers of models, added to the runs that trained them: of all models at once.

`import mlflow` and opening a store take seconds, more than most evaluations: so the stage that collects all runs
does it once, and each evaluation need not.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from relalign.settings.tracking import Tracking
from relalign.tracking.records import git_state, metric_name
from relalign.tracking.store import connect, side_thread

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient


@dataclass(frozen=True)
class Evaluation:
    """What was measured of one model; `name` is for a run that has to be made for it."""

    name: str
    tags: Mapping[str, str]
    model_sha256: str
    metrics: Mapping[str, float | int]


def add_evaluations(settings: Tracking, evaluations: Sequence[Evaluation], *, root: Path) -> bool:
    """Add final metrics to the newest run with these tags and this model, or to a new one. False if that failed.

    Metrics the run already holds with the same value are left alone, so adding again changes nothing.
    """
    if not settings.enabled:
        return True
    side = side_thread(settings, root)
    side.submit(lambda: _add_all(settings, evaluations, root))
    return side.close()


def _add_all(settings: Tracking, evaluations: Sequence[Evaluation], root: Path) -> None:
    client, experiment = connect(settings, root)
    state = git_state(root)
    for evaluation in evaluations:
        _add(client, experiment, evaluation, state)


def _add(client: "MlflowClient", experiment: str, evaluation: Evaluation, state: Mapping[str, str]) -> None:
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
    named = {metric_name(key): float(value) for key, value in evaluation.metrics.items()}
    fresh = [Metric(key, value, now, 0) for key, value in named.items() if held.get(key) != value]
    for start in range(0, len(fresh), 1000):  # MLflow's limit of a batch
        client.log_batch(run.info.run_id, metrics=fresh[start : start + 1000])
    if not found:
        client.set_terminated(run.info.run_id)
