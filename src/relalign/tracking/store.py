"""Where runs are recorded, and how the record is reached without ever making anybody wait for long."""

import contextlib
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
PATIENCE = {"local": 180.0, "server": 30.0}
_SQLITE = "sqlite:///"
_ENVIRONMENT = {  # only where the user has not said otherwise
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


def store_uri(settings: Tracking, root: Path) -> str:
    """Which store: params.yaml's, or the environment's, or the project's own sqlite file."""
    return settings.uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root / 'mlflow.db'}?timeout=60"


def side_thread(settings: Tracking, root: Path) -> BestEffort:
    """The thread on which all tracking of a run or an evaluation happens."""
    kind = "local" if store_uri(settings, root).startswith(_SQLITE) else "server"
    return BestEffort("Experiment tracking", patience=PATIENCE[kind])


def connect(settings: Tracking, root: Path) -> tuple["MlflowClient", str]:
    """A client and the experiment's id, creating store and experiment if need be, one process at a time."""
    for key, value in _ENVIRONMENT.items():
        os.environ.setdefault(key, value)
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    for noisy in ("mlflow", "alembic", "urllib3.connectionpool"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    uri = store_uri(settings, root)
    database = uri.removeprefix(_SQLITE).partition("?")[0] if uri.startswith(_SQLITE) else None
    lock = FileLock(f"{database}.lock", timeout=PATIENCE["local"]) if database else contextlib.nullcontext()
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
    side = side_thread(settings, root)
    side.submit(lambda: connect(settings, root) and None)
    return side.close()
