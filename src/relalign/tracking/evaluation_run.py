"""The final numbers of a model, added to the run that trained it."""

import time
from collections.abc import Mapping
from pathlib import Path

from relalign.settings.tracking import Tracking
from relalign.tracking.records import git_state, metric_name
from relalign.tracking.store import connect, side_thread


def evaluation_run(
    settings: Tracking,
    *,
    root: Path,
    model_sha256: str,
    name: str,
    tags: Mapping[str, str],
    metrics: Mapping[str, float | int],
) -> bool:
    """Add final metrics to the newest run with these tags and this model, or to a new one. False if that failed.

    Metrics the run already holds with the same value are left alone, so evaluating again changes nothing.
    """
    if not settings.enabled:
        return True
    side = side_thread(settings, root)
    side.submit(lambda: _add_evaluation(settings, root, model_sha256, name, tags, metrics))
    return side.close()


def _add_evaluation(
    settings: Tracking,
    root: Path,
    sha256: str,
    name: str,
    tags: Mapping[str, str],
    metrics: Mapping[str, float | int],
) -> None:
    from mlflow.entities import Metric

    client, experiment = connect(settings, root)
    wanted = {**tags, "model_sha256": sha256}  # CCA's models of all seeds are equal
    found = client.search_runs(
        [experiment],
        filter_string=" and ".join(f"tags.{key} = '{value}'" for key, value in wanted.items()),
        order_by=["attributes.start_time DESC"],
        max_results=1,
    )
    tagged = {**wanted, **git_state(root)}
    run = found[0] if found else client.create_run(experiment, run_name=name, tags=tagged)
    held, now = run.data.metrics, int(time.time() * 1000)
    named = {metric_name(key): float(value) for key, value in metrics.items()}
    fresh = [Metric(key, value, now, 0) for key, value in named.items() if held.get(key) != value]
    for start in range(0, len(fresh), 1000):  # MLflow's limit of a batch
        client.log_batch(run.info.run_id, metrics=fresh[start : start + 1000])
    if not found:
        client.set_terminated(run.info.run_id)
