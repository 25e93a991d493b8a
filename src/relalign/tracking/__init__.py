"""MLflow, in the only package that imports it.

An experiment is a dataset, a parent run an execution of the pipeline, a run below it one method with one seed.

The store is `tracking.uri` of params.yaml, or MLFLOW_TRACKING_URI, or `mlflow.db` in the project folder with
artifacts in `mlartifacts/`. Everything happens on a side thread (`relalign.system.best_effort`): whatever goes
wrong with the store is one warning and never fails or holds up the work being tracked.
"""

from relalign.tracking.evaluation_run import Champion, Evaluation, add_evaluations
from relalign.tracking.execution import Execution
from relalign.tracking.logged_model import LoggedModel
from relalign.tracking.records import run_identity
from relalign.tracking.store import store_uri
from relalign.tracking.training_run import Run, training_run

__all__ = [
    "Champion",
    "Evaluation",
    "Execution",
    "LoggedModel",
    "Run",
    "add_evaluations",
    "run_identity",
    "store_uri",
    "training_run",
]
