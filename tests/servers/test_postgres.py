"""Many jobs share one MLflow server on PostgreSQL."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.tracking import MlflowClient

from relalign.retrieval.embeddings import load_embeddings
from tests.servers import postgres
from tests.tracking.test_tracking import WORKER
from tests.workflow.clone import METHODS, SEEDS, Clone

pytestmark = [pytest.mark.long, pytest.mark.skipif(bool(postgres.missing()), reason=postgres.missing())]

JOBS = 16


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with (
        postgres.database() as address,
        postgres.mlflow_server(address, tmp_path_factory.mktemp("mlflow")) as server,
    ):
        yield server


def test_sixteen_jobs_at_once_share_a_server_on_postgresql_and_lose_nothing(server: str, tmp_path: Path) -> None:
    environment = {**os.environ, "MLFLOW_TRACKING_URI": server}
    jobs = []
    for seed in range(JOBS):
        (tmp_path / str(seed)).mkdir()  # on a cluster, clones of several people
        command = [sys.executable, "-c", WORKER, str(tmp_path / str(seed)), str(seed)]
        jobs.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
    for job in jobs:
        said = job.communicate(timeout=300)[1]
        assert (job.returncode, said) == (0, "")
    client = MlflowClient(server)
    (experiment,) = [one for one in client.search_experiments() if one.name == "relalign/toyset"]
    runs = client.search_runs([experiment.experiment_id])
    ours = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    assert sorted(int(run.data.params["seed"]) for run in ours) == list(range(JOBS))
    assert {run.info.status for run in ours} == {"FINISHED"}
    for run in ours:
        for metric in ("train/loss_total", "validation/rsum"):
            steps = [point.step for point in client.get_metric_history(run.info.run_id, metric)]
            assert steps == list(range(10)), (metric, run.data.metrics)


@pytest.mark.workflow
def test_the_pipelines_runs_their_files_and_the_champion_are_on_the_server(
    project: Clone, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.run("rm", "-rf", "results", ".dvc/cache", "mlflow.db")
    environment = {**project.environment(), "MLFLOW_TRACKING_URI": server}
    monkeypatch.setattr(project, "environment", lambda: environment)
    project.snakemake()
    client = MlflowClient(server)
    experiment = client.get_experiment_by_name("relalign/tiny")
    runs = client.search_runs([experiment.experiment_id], "status = 'FINISHED'")
    measured = [run for run in runs if "test/rsum" in run.data.metrics]
    keys = sorted((run.data.tags["method"], int(run.data.tags["seed"])) for run in measured)
    assert keys == sorted((method, seed) for method in METHODS for seed in SEEDS)
    for run in measured:
        names = {file.path for file in client.list_artifacts(run.info.run_id)}
        assert {"artifacts.json", "history.csv"} <= names
    assert not (project.root / "mlflow.db").exists()
    version = client.get_model_version_by_alias("relalign-tiny", "champion")
    method, seed = (client.get_run(version.run_id).data.tags[name] for name in ("method", "seed"))
    folder = project.root / f"results/tiny/{method}/seed{seed}/embeddings"
    wanted = load_embeddings(folder)
    captions = pd.read_parquet(project.root / "data/pairs/tiny/pairs.parquet").set_index("caption_id")["caption"]
    texts = [captions[row] for row in wanted.text_ids[:5]]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    monkeypatch.chdir(tmp_path)
    model = mlflow.pyfunc.load_model("models:/relalign-tiny@champion")
    vectors = model.predict(pd.DataFrame({"text": texts, "image": [None] * len(texts)}))
    np.testing.assert_allclose(vectors, wanted.text[:5], atol=1e-4)
