"""`relalign ui`: MLflow's pages over all runs, with addresses at which they show something without a click."""

import argparse
import os
import sys
from pathlib import Path

from relalign.settings import load_params
from relalign.tracking import store_uri

# MLflow folds runs below their execution until the list is sorted by a metric, and its charts show what is listed.
SORTED = "workflowType=machine_learning&orderByKey=metrics.%60test%2Frsum%60&orderByAsc=false"
_QUIET = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}


def pages(experiments: dict[str, str], address: str) -> list[str]:
    """A line with the table, and one with the charts, of each experiment (its id by name)."""
    return [
        f"{name}: {what} {address}/#/experiments/{number}/runs?{SORTED}{view}"
        for name, number in sorted(experiments.items())
        for what, view in (("runs  ", ""), ("charts", "&compareRunsMode=CHART"))
    ]


def show_runs(options: argparse.Namespace) -> None:
    """Say where to look, and become `mlflow ui`."""
    os.environ |= _QUIET
    from mlflow.tracking import MlflowClient

    params = load_params(options.params)
    store = store_uri(params.tracking, options.params.resolve().parent)
    ours = f"{params.tracking.experiment}/"
    every = MlflowClient(store).search_experiments()
    found = {one.name: one.experiment_id for one in every if one.name.startswith(ours)}
    lines = pages(found, f"http://127.0.0.1:{options.port}")
    sys.stderr.write("\n".join([*lines, "Ctrl-C ends this."]) + "\n")
    mlflow = str(Path(sys.executable).parent / "mlflow")
    command = (mlflow, "ui", "--workers", "1", "--port", str(options.port), "--backend-store-uri", store)
    os.execv(mlflow, command)  # noqa: S606 (no shell)
