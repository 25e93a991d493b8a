"""Where runs are recorded, and how the record is reached without ever making anybody wait for long."""

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from relalign.settings.tracking import Tracking
from relalign.system.best_effort import BestEffort

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

# How long a run's end may wait for its record. A local store fails by itself if it must, and is only ever slow
# because the machine is busy; a server may be silent for good.
PATIENCE = {"local": 180.0, "server": 30.0, "upload": 300.0}
_SQLITE = "sqlite:///"
_EXPERIMENT_TAGS = {
    "mlflow.experimentKind": "custom_model_development",  # or the pages open as those of a chat application
    "mlflow.note.content": "A parent run is an execution of the pipeline; below it is a run of each method and "
    "seed. Sort by a metric, for example `test/rsum`, to have all runs in one list and in the charts.",
}
_ENVIRONMENT = {  # only where the user has not said otherwise
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


def store_uri(settings: Tracking, root: Path) -> str:
    """Which store: params.yaml's, or the environment's, or the project's own sqlite file."""
    return settings.uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root / 'mlflow.db'}?timeout=60"


def side_thread(settings: Tracking, root: Path, *, uploads: bool = False) -> BestEffort:
    """The thread on which all tracking of a run or an evaluation happens; `uploads` if whole models are sent."""
    uri = store_uri(settings, root)
    local = uri.startswith(_SQLITE)
    kind = "upload" if uploads else "local" if local else "server"
    advice = f". If it does so again, move {_database(uri)} away: a new one is made." if local else ""
    return BestEffort("Experiment tracking", patience=PATIENCE[kind], advice=advice)


def store_lock(settings: Tracking, root: Path) -> FileLock:
    """What a process holds while it makes what there may only be one of: beside a local database, which several
    projects may share, or else in the project."""
    uri = store_uri(settings, root)
    if uri.startswith(_SQLITE):
        return FileLock(f"{_database(uri)}.lock", timeout=PATIENCE["local"])
    path = root / ".relalign/mlflow.lock"
    path.parent.mkdir(exist_ok=True)
    return FileLock(path, timeout=PATIENCE["server"])


def _database(uri: str) -> str:
    return uri.removeprefix(_SQLITE).partition("?")[0]


def load() -> None:
    """Import what talks to a store."""
    import mlflow.tracking  # noqa: F401 (for what it leaves in memory)


def connect(settings: Tracking, root: Path, dataset: str) -> tuple["MlflowClient", str]:
    """A client and the id of the dataset's experiment, `relalign/openmoji`.

    Store and experiment are made if need be, by one process at a time.
    """
    for key, value in _ENVIRONMENT.items():
        os.environ.setdefault(key, value)
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    for noisy in ("mlflow", "alembic", "urllib3.connectionpool"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    uri, name = store_uri(settings, root), f"{settings.experiment}/{dataset}"
    local = uri.startswith(_SQLITE)
    with store_lock(settings, root):
        if local:
            _make_whole(Path(_database(uri)))
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            if local:
                _drop_unused_default(client)
            # A server chooses where artifacts go; beside a local database they go into the project.
            location = (root / "mlartifacts").as_uri() if local else None
            try:
                return client, client.create_experiment(name, artifact_location=location, tags=_EXPERIMENT_TAGS)
            except MlflowException:  # another job of a shared server was quicker
                experiment = client.get_experiment_by_name(name)
                if experiment is None:
                    raise
    return client, experiment.experiment_id


def _make_whole(database: Path) -> None:
    """Make a database under another name first: one whose making was killed could never be opened again."""
    from mlflow.tracking import MlflowClient

    if not database.exists():
        draft = database.with_name(f"{database.name}.draft")
        draft.unlink(missing_ok=True)
        MlflowClient(tracking_uri=f"{_SQLITE}{draft}").search_experiments()
        draft.rename(database)


def _drop_unused_default(client: "MlflowClient") -> None:
    """Delete the experiment that MLflow puts into a new store, if there is nothing else yet and nothing in it.

    Whatever a person has already used stays.
    """
    if [each.experiment_id for each in client.search_experiments()] == ["0"] and not client.search_runs(["0"]):
        client.delete_experiment("0")
