"""Models in MLflow give the vectors that the pipeline exported: by reference, by alias, and over HTTP."""

import base64
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from relalign.commands.tracked import track_results
from relalign.errors import RelalignError
from relalign.evaluation.stage import evaluate
from relalign.layout import Layout
from relalign.retrieval.embeddings import load_embeddings
from relalign.retrieval.relevance_files import make_relevance
from relalign.settings import Params
from relalign.training.history import validation_rsum
from relalign.training.runs import export, train
from tests.retrieval.test_retrieval_model import raw
from tests.trained_project import make_project, trained_params

METHODS = ("contrastive", "cca")
SECONDS_TO_START = 180


def make(params: Params, layout: Layout, method: str) -> None:
    for stage in (train, export, evaluate):
        stage(params, layout, method=method, seed=0)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> tuple[Params, Layout]:
    """Two methods, trained, evaluated and recorded; the encoders of one are cut."""
    params = trained_params(
        training={"epochs": 2}, methods=list(METHODS), seeds=[0], tracking={"enabled": True, "uri": None}
    )
    layout = make_project(tmp_path_factory.mktemp("ein Projekt für alle"), params)
    make_relevance(layout)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        for method in METHODS:
            make(params, layout, method)
        assert track_results(params, layout)
    return params, layout


@pytest.fixture(scope="module")
def client(project: tuple[Params, Layout]) -> Iterator[MlflowClient]:
    before = mlflow.get_tracking_uri()
    uri = f"sqlite:///{project[1].root / 'mlflow.db'}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", uri)  # which set_tracking_uri sets too, and would leave to other tests
        mlflow.set_tracking_uri(uri)
        yield MlflowClient(uri)
        mlflow.set_tracking_uri(before)


def runs_of(client: MlflowClient) -> dict[str, Run]:
    """The runs by name; there is no experiment but the dataset's."""
    (experiment,) = client.search_experiments()
    assert experiment.name == "relalign/openmoji"
    return {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}


def champion(params: Params) -> str:
    return f"models:/relalign-{params.dataset}@champion"


def given(layout: Layout, *, in_base64: bool) -> list[dict[str, str]]:
    images, texts = raw(layout)
    picture = (lambda path: base64.b64encode(path.read_bytes()).decode()) if in_base64 else str
    rows = [{"text": text} for text in texts] + [{"image": picture(path)} for path in images]
    return [rows[place] for place in np.random.default_rng(0).permutation(len(rows))]


def wanted(layout: Layout, method: str) -> np.ndarray:
    embeddings = load_embeddings(layout.run(method, 0) / "embeddings")
    rows = np.concatenate([embeddings.text, embeddings.image])
    return rows[np.random.default_rng(0).permutation(len(rows))]


def best(layout: Layout) -> str:
    return max(METHODS, key=lambda method: validation_rsum(layout.run(method, 0) / "model"))


def test_a_run_has_few_numbers_and_the_rest_in_files(client: MlflowClient, project) -> None:
    runs = runs_of(client)
    assert runs.keys() == {
        *(name for name in runs if name.startswith("pipeline ")),
        "contrastive/seed0",
        "cca/seed0",
    }
    run = runs["contrastive/seed0"]
    groups = {
        group: sum(name.startswith(f"{group}/") for name in run.data.metrics) for group in ("test", "validation")
    }
    assert 12 <= groups["test"] <= 20
    assert groups["validation"] == 6
    assert {"metrics.json", "history.csv"} <= {file.path for file in client.list_artifacts(run.info.run_id)}
    assert (
        run.data.params.items()
        >= {"method": "contrastive", "seed": "0", "settings.algorithm": "contrastive"}.items()
    )


def test_the_parent_says_what_was_executed_and_is_finished(client: MlflowClient, project) -> None:
    runs = runs_of(client)
    (parent,) = (run for name, run in runs.items() if name.startswith("pipeline "))
    children = [run for run in runs.values() if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert len(children) == 2
    assert parent.info.status == "FINISHED"
    assert parent.data.tags.keys() >= {"execution", "params_sha256"}


def test_each_run_has_a_small_model_that_gives_the_vectors_of_the_pipeline(client: MlflowClient, project) -> None:
    checked = []
    for name, run in runs_of(client).items():
        for output in run.outputs.model_outputs if run.outputs else []:
            model = client.get_logged_model(output.model_id)
            files = list(Path(unquote(model.artifact_location.removeprefix("file://"))).rglob("*"))
            assert model.status == "READY"
            assert sum(path.stat().st_size for path in files) < 100_000 or name == f"{best(project[1])}/seed0"
            loaded = mlflow.pyfunc.load_model(f"models:/{output.model_id}")
            vectors = loaded.predict(pd.DataFrame(given(project[1], in_base64=False)))
            np.testing.assert_allclose(vectors, wanted(project[1], name.partition("/")[0]), atol=1e-4)
            checked.append(name)
    assert len(checked) == 3  # the champion twice


def test_the_champion_is_the_best_on_validation_and_needs_nothing_of_the_project(
    client: MlflowClient, project, tmp_path: Path
) -> None:
    params, layout = project
    version = client.get_model_version_by_alias(f"relalign-{params.dataset}", "champion")
    assert client.get_run(version.run_id).data.tags["method"] == best(layout)
    folder = tmp_path / "elsewhere"
    mlflow.artifacts.download_artifacts(champion(params), dst_path=str(folder))
    rows = given(layout, in_base64=True)
    with_results_away = layout.root.rename(layout.root.with_name("away"))
    try:
        model = mlflow.pyfunc.load_model(str(folder))
        vectors = model.predict(pd.DataFrame(rows))
    finally:
        with_results_away.rename(layout.root)
    np.testing.assert_allclose(vectors, wanted(layout, best(layout)), atol=1e-4)
    assert {column.name for column in model.metadata.signature.inputs} == {"text", "image"}
    assert model.metadata.signature.outputs.inputs[0].shape == (-1, vectors.shape[1])
    pinned = (folder / "requirements.txt").read_text().splitlines()
    assert all("==" in line for line in pinned)
    assert {"mlflow", "torch", "transformers"} <= {line.partition("==")[0] for line in pinned}


def test_recording_again_adds_nothing(client: MlflowClient, project) -> None:
    params, layout = project
    before = sorted((layout.root / "mlartifacts").rglob("*"))
    assert track_results(params, layout)
    assert sorted((layout.root / "mlartifacts").rglob("*")) == before
    assert len(client.search_model_versions("name = 'relalign-openmoji'")) == 1


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": "a", "image": "b.png"}, "Row 0 must have either a text or an image"),
        ({"text": None, "image": None}, "Row 0 must have either a text or an image"),
        ({"image": "not base64!"}, "image of row 0 is neither"),
        ({"image": "aGVsbG8="}, "image of row 0 is neither"),
        ({"image": "missing.png"}, "missing.png"),
    ],
)
def test_a_row_that_is_of_no_use_is_named(
    client: MlflowClient, project, row: dict[str, Any], message: str
) -> None:
    model = mlflow.pyfunc.load_model(champion(project[0]))
    with pytest.raises(RelalignError, match=message):
        model.predict(pd.DataFrame([row]))


def test_a_reference_to_what_was_trained_again_says_so(client: MlflowClient, project, tmp_path: Path) -> None:
    from relalign.retrieval.mlflow_model import _load_pyfunc, write_reference

    params, layout = project
    shutil.copytree(layout.root, tmp_path / "copy", ignore=shutil.ignore_patterns("mlflow.db*", "mlartifacts"))
    copy = Layout(tmp_path / "copy", params.dataset)
    write_reference(tmp_path, params, copy, method="cca", seed=0)
    manifest = copy.run("cca", 0) / "model/manifest.json"
    manifest.write_text(manifest.read_text() + "\n")
    with pytest.raises(RelalignError, match="made again since"):
        _load_pyfunc(str(tmp_path))
    shutil.rmtree(copy.root)
    with pytest.raises(RelalignError, match="Only the best model is logged whole"):
        _load_pyfunc(str(tmp_path))


def environment(layout: Layout) -> dict[str, str]:
    return {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{layout.root / 'mlflow.db'}", "OMP_NUM_THREADS": "1",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}  # fmt: skip


@contextmanager
def served(layout: Layout, model: str, log: Path) -> Iterator[str]:
    """`mlflow models serve`, until the body ends; the address for rows."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["mlflow", "models", "serve", "--model-uri", model, "--env-manager", "local", "--port", str(port)]
    with log.open("w") as stream:
        server = subprocess.Popen(
            command, env=environment(layout), stdout=stream, stderr=stream, start_new_session=True
        )
    try:
        deadline = time.monotonic() + SECONDS_TO_START
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5):
                    break
            except OSError:
                assert server.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        os.killpg(server.pid, 15)
        server.wait(30)


def post(address: str, rows: list[dict[str, str]]) -> Any:
    body = json.dumps({"dataframe_records": rows}).encode()
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)["predictions"]


@pytest.mark.workflow
def test_served_over_http_it_gives_the_vectors_of_the_pipeline(client, project, tmp_path: Path) -> None:
    params, layout = project
    expected = wanted(layout, best(layout))
    with served(layout, champion(params), tmp_path / "log") as address:
        for in_base64 in (True, False):
            vectors = np.array(post(address, given(layout, in_base64=in_base64)))
            np.testing.assert_allclose(vectors, expected, atol=1e-4)
        with pytest.raises(urllib.error.HTTPError) as refused:
            post(address, [{"image": "nowhere.png"}])
        assert "nowhere.png" in refused.value.read().decode()
    assert refused.value.code == 400


@pytest.mark.workflow
def test_mlflow_models_predict_reads_a_table(client, project, tmp_path: Path) -> None:
    params, layout = project
    pd.DataFrame(given(layout, in_base64=False)).to_csv(tmp_path / "rows.csv", index=False)
    command = ["mlflow", "models", "predict", "--model-uri", champion(params), "--env-manager", "local"]
    command += ["--content-type", "csv", "--input-path", "rows.csv", "--output-path", "vectors.json"]
    subprocess.run(command, cwd=tmp_path, env=environment(layout), check=True, timeout=SECONDS_TO_START)
    vectors = np.array(json.loads((tmp_path / "vectors.json").read_text())["predictions"])
    np.testing.assert_allclose(vectors, wanted(layout, best(layout)), atol=1e-4)
