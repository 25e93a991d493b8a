"""MLflow, in the only file that imports it: flat runs with tags, in a store that is made once.

The store is `tracking.uri` of params.yaml, or MLFLOW_TRACKING_URI, or `mlflow.db` in the project folder with
artifacts in `mlartifacts/`. Everything happens on a side thread (`relalign.best_effort`): whatever goes wrong
with the store is one warning and never fails or holds up the work being tracked.

Names: MLflow refuses '@' in a metric's name, so '@' becomes '_at_' (`i2t/recall@1` -> `i2t/recall_at_1`) and
any other refused character becomes '_'.
"""

import contextlib
import hashlib
import json
import logging
import os
import re
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from filelock import FileLock

from relalign.artifacts import canonical_json, digest, sha256_file, write_atomic
from relalign.best_effort import BestEffort
from relalign.params import Tracking

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

PATIENCE = (
    45.0  # seconds a silent store may delay the end of a run; creating the first sqlite store takes about 10
)
COPIED_BYTES = 1_000_000  # larger artifacts are recorded by path and hash only
_ENVIRONMENT = {  # only where the user has not said otherwise
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


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


def store_uri(settings: Tracking, root: Path) -> str:
    """Which store: params.yaml's, or the environment's, or the project's own sqlite file."""
    return settings.uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root / 'mlflow.db'}"


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


def _connect(settings: Tracking, root: Path) -> tuple["MlflowClient", str]:
    """A client and the experiment's id, creating store and experiment if need be, one process at a time."""
    for key, value in _ENVIRONMENT.items():
        os.environ.setdefault(key, value)
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    for noisy in ("mlflow", "alembic", "urllib3.connectionpool"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    uri = store_uri(settings, root)
    database = uri.removeprefix("sqlite:///").partition("?")[0] if uri.startswith("sqlite:///") else None
    lock = FileLock(f"{unquote(database)}.lock", timeout=PATIENCE) if database else contextlib.nullcontext()
    with lock:
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        experiment = client.get_experiment_by_name(settings.experiment)
        if experiment is None:
            # A server chooses where artifacts go; beside a local database they go into the project.
            location = (root / "mlartifacts").as_uri() if database else None
            try:
                return client, client.create_experiment(settings.experiment, artifact_location=location)
            except MlflowException:  # another job of a shared server was quicker
                experiment = client.get_experiment_by_name(settings.experiment)
                if experiment is None:
                    raise
    return client, experiment.experiment_id


def ensure_store(settings: Tracking, *, root: Path) -> bool:
    """Create the store and experiment ahead of parallel jobs, so that none of them waits. False if it failed."""
    if not settings.enabled:
        return True
    side = BestEffort("Experiment tracking", patience=PATIENCE)
    side.submit(lambda: _connect(settings, root) and None)
    return side.close()


class Run:
    """One training run; every method returns at once and does nothing where tracking is off."""

    def __init__(self, settings: Tracking, root: Path, resume_file: Path):
        self._settings = settings
        self._root = root
        self._resume_file = resume_file
        self._side = BestEffort("Experiment tracking", patience=PATIENCE) if settings.enabled else None
        self._client: MlflowClient
        self._run_id = ""
        self._logged: set[tuple[str, int]] = set()

    def log_epoch(self, metrics: Mapping[str, float | int], *, step: int) -> None:
        """Log an epoch's numbers, all but `epoch`, which is the step. A (name, step) already there is left alone.

        A resumed job may therefore log its whole history again: nothing stands twice, and what the killed
        job had not yet delivered is filled in.
        """
        now = int(time.time() * 1000)
        if self._side:
            self._side.submit(lambda: self._log(dict(metrics), step, now))

    def finish(self, *, model_sha256: str, artifacts: Sequence[Path] = ()) -> None:
        """Name the model this run made, keep its small artifacts and list all of them by path and sha256."""
        if self._side:
            self._side.submit(lambda: self._finish(model_sha256, artifacts))

    def _open(self, name: str, parameters: Mapping[str, Any], tags: Mapping[str, str], pairs: Path | None) -> None:
        self._client, experiment = _connect(self._settings, self._root)
        fingerprint = hashlib.sha256(canonical_json(flatten(parameters)).encode()).hexdigest()
        if self._reopen(fingerprint):
            return
        run = self._client.create_run(experiment, run_name=name, tags={**tags, **git_state(self._root)})
        self._run_id = run.info.run_id
        _log_parameters(self._client, self._run_id, flatten(parameters))
        if pairs is not None:
            _log_dataset(self._client, self._run_id, tags.get("dataset", pairs.name), pairs, self._root)
        write_atomic(self._resume_file, json.dumps({"run_id": self._run_id, "parameters": fingerprint}))

    def _reopen(self, fingerprint: str) -> bool:
        """Continue the run that `resume_file` names, if it is of the same parameters and still there."""
        from mlflow.exceptions import MlflowException

        try:
            kept = json.loads(self._resume_file.read_text())
            if kept["parameters"] != fingerprint:
                return False
            run = self._client.get_run(kept["run_id"])
        except (OSError, ValueError, KeyError, TypeError, MlflowException):
            return False
        if run.info.lifecycle_stage != "active":
            return False
        self._run_id = run.info.run_id
        self._client.update_run(self._run_id, status="RUNNING")
        for key in run.data.metrics:
            self._logged |= {(key, item.step) for item in self._client.get_metric_history(self._run_id, key)}
        return True

    def _log(self, metrics: Mapping[str, float | int], step: int, milliseconds: int) -> None:
        from mlflow.entities import Metric

        named = {metric_name(name): float(value) for name, value in metrics.items() if name != "epoch"}
        fresh = {name: value for name, value in named.items() if (name, step) not in self._logged}
        if fresh:
            batch = [Metric(name, value, milliseconds, step) for name, value in fresh.items()]
            self._client.log_batch(self._run_id, metrics=batch)
            self._logged |= {(name, step) for name in fresh}

    def _finish(self, model_sha256: str, artifacts: Sequence[Path]) -> None:
        listing = {}
        for path in artifacts:
            place = path.resolve().relative_to(self._root.resolve()).as_posix()
            listing[place] = {"sha256": sha256_file(path), "bytes": path.stat().st_size}
            if path.stat().st_size <= COPIED_BYTES:
                self._client.log_artifact(self._run_id, str(path))
        self._client.log_dict(self._run_id, listing, "artifacts.json")
        self._client.set_tag(self._run_id, "model_sha256", model_sha256)

    def _close(self, status: str) -> None:
        if self._side is None:
            return
        self._side.submit(lambda: self._client.set_terminated(self._run_id, status))
        if status == "FINISHED":
            self._side.submit(lambda: self._resume_file.unlink(missing_ok=True))
        self._side.close()


def _log_parameters(client: "MlflowClient", run_id: str, parameters: Mapping[str, str]) -> None:
    from mlflow.entities import Param

    items = [Param(metric_name(name), value) for name, value in parameters.items()]
    for start in range(0, len(items), 100):  # MLflow's limit of a batch
        client.log_batch(run_id, params=items[start : start + 100])


def _log_dataset(client: "MlflowClient", run_id: str, name: str, pairs: Path, root: Path) -> None:
    from mlflow.entities import Dataset, DatasetInput

    source = json.dumps({"uri": pairs.resolve().relative_to(root.resolve()).as_posix()})
    # 36 characters is the longest digest MLflow stores.
    dataset = Dataset(name=name, digest=digest(pairs)[:36], source_type="local", source=source)
    client.log_inputs(run_id, datasets=[DatasetInput(dataset)])


@contextlib.contextmanager
def training_run(
    settings: Tracking,
    *,
    root: Path,
    name: str,
    parameters: Mapping[str, Any],
    tags: Mapping[str, str],
    resume_file: Path,
    pairs: Path | None = None,
) -> Iterator[Run]:
    """One MLflow run around a training: FINISHED, or FAILED or KILLED if the body raises.

    `resume_file` keeps the run's id until the run is finished: a job that starts again with the same
    parameters continues its run. `pairs` is the published folder of the pairs table, recorded as the dataset.
    """
    run = Run(settings, root, resume_file)
    if run._side:
        run._side.submit(lambda: run._open(name, parameters, tags, pairs))
    try:
        yield run
    except Exception:
        run._close("FAILED")
        raise
    except BaseException:
        run._close("KILLED")
        raise
    run._close("FINISHED")


def evaluation_run(
    settings: Tracking,
    *,
    root: Path,
    model_sha256: str,
    name: str,
    tags: Mapping[str, str],
    metrics: Mapping[str, float | int],
) -> bool:
    """Add final metrics to the newest run whose model has this sha256, or to a new run. False if that failed.

    Metrics the run already holds with the same value are left alone, so evaluating again changes nothing.
    """
    if not settings.enabled:
        return True
    side = BestEffort("Experiment tracking", patience=PATIENCE)
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

    client, experiment = _connect(settings, root)
    found = client.search_runs(
        [experiment],
        filter_string=f"tags.model_sha256 = '{sha256}'",
        order_by=["attributes.start_time DESC"],
        max_results=1,
    )
    tagged = {**tags, **git_state(root), "model_sha256": sha256}
    run = found[0] if found else client.create_run(experiment, run_name=name, tags=tagged)
    held, now = run.data.metrics, int(time.time() * 1000)
    named = {metric_name(key): float(value) for key, value in metrics.items()}
    fresh = [Metric(key, value, now, 0) for key, value in named.items() if held.get(key) != value]
    for start in range(0, len(fresh), 1000):  # MLflow's limit of a batch
        client.log_batch(run.info.run_id, metrics=fresh[start : start + 1000])
    if not found:
        client.set_terminated(run.info.run_id)
