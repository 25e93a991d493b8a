"""Every training is one MLflow run, which its evaluation joins; no store can fail a job."""

import hashlib
import re
import shutil

import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from tests.workflow.clone import METHODS, SEEDS, Clone

pytestmark = pytest.mark.workflow


def runs_of(project: Clone) -> list[Run]:
    client = MlflowClient(f"sqlite:///{project.root / 'mlflow.db'}")
    return client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])


def test_parallel_jobs_leave_one_whole_run_a_training_below_one_execution(made_project: Clone) -> None:
    everything = runs_of(made_project)
    runs = [run for run in everything if "mlflow.parentRunId" in run.data.tags]
    (parent,) = (run for run in everything if run not in runs)
    assert {run.data.tags["mlflow.parentRunId"] for run in runs} == {parent.info.run_id}
    params = (made_project.root / "results/tiny/params.json").read_bytes()
    assert parent.data.tags["params_sha256"] == hashlib.sha256(params).hexdigest()
    assert parent.info.status == "FINISHED"
    keys = sorted((run.data.tags["method"], int(run.data.tags["seed"])) for run in runs)
    assert keys == sorted((method, seed) for method in METHODS for seed in SEEDS)
    for run in runs:
        assert run.info.status == "FINISHED"
        assert re.fullmatch(r"[0-9a-f]{40}", run.data.tags["mlflow.source.git.commit"])
        assert run.data.tags["dataset"] == "tiny"
        assert "test/rsum" in run.data.metrics, "the evaluation did not join the training's run"
        assert run.outputs.model_outputs, "there is no model of the run"
        assert run.data.params["seed"] == run.data.tags["seed"]


def test_dvc_repro_of_what_is_there_adds_no_execution(project: Clone) -> None:
    """What is removed is trained again, by the other tool, in the same execution."""
    before = {run.info.run_id for run in runs_of(project)}
    shutil.rmtree(project.root / "results/tiny/cca/seed0/model")
    shutil.rmtree(project.root / ".dvc/cache")
    project.dvc("repro")
    added = [run for run in runs_of(project) if run.info.run_id not in before]
    assert added
    assert all("mlflow.parentRunId" in run.data.tags for run in added)


def test_unusable_store_is_a_warning_and_costs_no_result(project: Clone) -> None:
    before = project.contents("results")
    (project.root / "no database").write_text("this is not sqlite")
    project.edit_params(tracking={"uri": f"sqlite:///{project.root / 'no database'}"})
    target = "results/tiny/cca/seed0/metrics.json"
    project.snakemake("--forcerun", "train", "--", target)
    log = (project.root / "logs/tiny/train/cca-seed0.log").read_text()
    assert "WARNING" in log
    assert "tracking" in log.lower()
    same = {path for path in before if path.startswith("results/tiny/cca/seed0/")}
    assert {path: project.contents("results")[path] for path in same} == {path: before[path] for path in same}
