"""MLflow, in the only package that imports it: flat runs with tags, in a store that is made once.

The store is `tracking.uri` of params.yaml, or MLFLOW_TRACKING_URI, or `mlflow.db` in the project folder with
artifacts in `mlartifacts/`. Everything happens on a side thread (`relalign.system.best_effort`): whatever goes
wrong with the store is one warning and never fails or holds up the work being tracked.
"""

from relalign.tracking.evaluation_run import Evaluation, add_evaluations
from relalign.tracking.records import run_identity
from relalign.tracking.store import ensure_store, store_uri
from relalign.tracking.training_run import Run, training_run

__all__ = ["Evaluation", "Run", "add_evaluations", "ensure_store", "run_identity", "store_uri", "training_run"]
