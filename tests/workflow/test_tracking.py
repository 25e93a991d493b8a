"""Every training is one MLflow run, which its evaluation joins; no store can fail a job."""

import re

import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from tests.workflow.clone import METHODS, SEEDS, Clone

pytestmark = pytest.mark.workflow


def runs_of(project: Clone) -> list[Run]:
    client = MlflowClient(f"sqlite:///{project.root / 'mlflow.db'}")
    return client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])


def test_parallel_jobs_leave_one_whole_run_a_training(made_project: Clone) -> None:
    runs = runs_of(made_project)
    keys = sorted((run.data.tags["method"], int(run.data.tags["seed"])) for run in runs)
    assert keys == sorted((method, seed) for method in METHODS for seed in SEEDS)
    for run in runs:
        assert run.info.status == "FINISHED"
        assert re.fullmatch(r"[0-9a-f]{40}", run.data.tags["mlflow.source.git.commit"])
        assert run.data.tags["dataset"] == "tiny"
        assert "rsum" in run.data.metrics, "the evaluation did not join the training's run"
        assert run.data.params["seed"] == run.data.tags["seed"]


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
