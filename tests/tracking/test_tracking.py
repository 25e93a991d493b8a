"""Tracking against real sqlite stores: nothing is lost, nothing stands twice, and nothing fails the work."""

import hashlib
import logging
import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient

from relalign import tracking
from relalign.settings.tracking import Tracking
from relalign.system.artifacts import pretty_json, publish
from relalign.tracking.records import TEST, epoch_metrics, final_metrics, flatten, metric_name
from relalign.tracking.store import PATIENCE, connect

SETTINGS = Tracking()
PARAMETERS = {"training": {"epochs": 3, "learning_rate": 0.001}, "method": {"ks": [1, 5]}, "note": None}
TAGS = {"method": "toy", "seed": "0", "dataset": "toyset"}
CHILD = "WHERE run_uuid IN (SELECT run_uuid FROM tags WHERE key = 'mlflow.parentRunId')"
EXECUTION = tracking.Execution("toyset", {"seeds": [0]})

WORKER = """
import sys
from pathlib import Path
from typing import Any
from relalign import tracking
from relalign.settings.tracking import Tracking
root, seed = Path(sys.argv[1]), sys.argv[2]
with tracking.training_run(Tracking(), root=root, name=f"toy seed {seed}", parameters={"seed": int(seed)},
                           tags={"seed": seed}, execution=tracking.Execution("toyset", {}),
                           resume_file=root / f"run{seed}.json") as run:
    for step in range(10):
        run.log_epoch({"loss/total": 1.0 / (step + 1), "val/rsum": float(step)}, step=step)
"""


@pytest.fixture(autouse=True)
def no_outer_tracking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")


@pytest.fixture(scope="module")
def made_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh store takes seconds to make, so tests copy this one."""
    root = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        connect(SETTINGS, root, "toyset")
    return root / "mlflow.db"


@pytest.fixture
def root(made_store: Path, tmp_path: Path) -> Path:
    with sqlite3.connect(made_store) as source, sqlite3.connect(tmp_path / "mlflow.db") as target:
        source.backup(target)
        target.execute("UPDATE experiments SET artifact_location = ?", [(tmp_path / "mlartifacts").as_uri()])
    return tmp_path


def opened(root: Path, *, settings: Tracking = SETTINGS, **changes: Any) -> AbstractContextManager[tracking.Run]:
    """A training's run, with what differs from the usual one."""
    usual = {"name": "toy", "parameters": PARAMETERS, "tags": TAGS, "execution": EXECUTION}
    return tracking.training_run(settings, root=root, **usual | {"resume_file": root / "run.json"} | changes)


def train(
    root: Path,
    steps: Iterable[int],
    *,
    settings: Tracking = SETTINGS,
    parameters: dict = PARAMETERS,
    execution: tracking.Execution = EXECUTION,
) -> None:
    with opened(root, settings=settings, name="toy seed 0", parameters=parameters, execution=execution) as run:
        for step in steps:
            run.log_epoch({"loss/total": 1.0 / (step + 1), "val/i2t/recall@1": float(step)}, step=step)


def rows(root: Path, query: str) -> list[tuple]:
    with sqlite3.connect(root / "mlflow.db") as database:
        return database.execute(query).fetchall()


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.levelno >= logging.WARNING]


def test_metrics_are_few_and_in_groups() -> None:
    assert metric_name("mixed/i2it/ndcg@10", "test") == "test/mixed_i2it_ndcg_at_10"
    row = {"epoch": 2, "loss/total": 1.0, "loss/sibling": 0.5, "val/rsum": 3.0, "val/i2t/mean_rank": 9.0}
    assert epoch_metrics(row) == {"train/loss_total": 1.0, "train_parts/loss_sibling": 0.5, "validation/rsum": 3.0}
    assert final_metrics({"rsum": 4, "i2t/recall@10": 50.0, "i2t/mean_rank": 9.0}) == {
        "test/rsum": 4.0,
        "test/i2t_recall_at_10": 50.0,
    }
    assert len(TEST) <= 20


def test_parameters_are_flattened_by_dotted_path() -> None:
    flat = flatten(PARAMETERS)
    assert flat == {
        "training.epochs": "3",
        "training.learning_rate": "0.001",
        "method.ks": "[1,5]",
        "note": "null",
    }


def test_params_come_before_the_environment_and_that_before_the_project_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tracking.store_uri(SETTINGS, tmp_path) == f"sqlite:///{tmp_path / 'mlflow.db'}?timeout=60"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://elsewhere")
    assert tracking.store_uri(SETTINGS, tmp_path) == "http://elsewhere"
    assert tracking.store_uri(Tracking(uri="http://named"), tmp_path) == "http://named"


def test_a_run_holds_parameters_tags_dataset_metrics_and_artifacts(root: Path) -> None:
    with publish(root / "data/pairs/toyset", made_by="test") as draft:
        (draft / "pairs.parquet").write_bytes(b"rows")
    history = root / "results/history.csv"
    history.parent.mkdir()
    history.write_text("epoch,loss\n0,1.0\n")
    with opened(root, name="toy seed 0", pairs=root / "data/pairs/toyset") as run:
        run.log_epoch({"epoch": 3, "val/i2t/recall@1": 12.5, "val/i2t/mean_rank": 4.0}, step=3)
        run.finish(model_sha256="a" * 64, artifacts=[history])

    assert dict(rows(root, "SELECT key, value FROM params")) == {
        **{"training.epochs": "3", "training.learning_rate": "0.001", "settings.ks": "[1,5]", "note": "null"},
        **TAGS,
    }
    recorded = dict(rows(root, f"SELECT key, value FROM tags {CHILD}"))
    assert recorded.items() >= {**TAGS, "model_sha256": "a" * 64}.items()
    assert rows(root, "SELECT key, value, step FROM metrics") == [("validation/i2t_recall_at_1", 12.5, 3)]
    assert rows(root, f"SELECT name, status FROM runs {CHILD}") == [("toy seed 0", "FINISHED")]
    assert rows(root, "SELECT name, dataset_source FROM datasets") == [("toyset", '{"uri": "data/pairs/toyset"}')]
    kept = sorted(path.name for path in (root / "mlartifacts").rglob("*") if path.is_file())
    assert kept == ["artifacts.json", "history.csv", "params.json"]
    assert not (root / "run.json").exists()


def test_runs_do_not_name_the_machine_or_the_user(root: Path) -> None:
    train(root, range(1))
    recorded = str(rows(root, "SELECT * FROM tags") + rows(root, "SELECT user_id, source_name FROM runs"))
    assert socket.gethostname() not in recorded
    assert os.environ.get("USER", "no-such-user") not in recorded


def test_a_resumed_job_continues_its_run_without_duplicated_steps(root: Path) -> None:
    def epochs_until_killed() -> Iterator[int]:
        yield from range(3)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(root, epochs_until_killed())
    assert rows(root, f"SELECT status FROM runs {CHILD}") == [("KILLED",)]

    train(root, range(5))
    assert rows(root, f"SELECT status FROM runs {CHILD}") == [("FINISHED",)]
    losses = rows(root, "SELECT step, value FROM metrics WHERE key = 'train/loss_total' ORDER BY step")
    assert losses == [(step, 1.0 / (step + 1)) for step in range(5)]


def test_other_parameters_start_another_run(root: Path) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        opened(root),
    ):
        raise ZeroDivisionError
    train(root, range(1), parameters={"training": {"epochs": 4}})
    assert sorted(rows(root, f"SELECT status FROM runs {CHILD}")) == [("FAILED",), ("FINISHED",)]


def parents(root: Path) -> list[tuple]:
    wanted = f"SELECT run_uuid, status FROM runs WHERE run_uuid NOT IN (SELECT run_uuid FROM runs {CHILD})"
    return rows(root, f"{wanted} ORDER BY start_time")


def test_what_is_trained_is_one_execution_however_often_and_other_parameters_are_another(root: Path) -> None:
    (root / "dvc.lock").write_text("as it was")
    train(root, range(1))
    ((parent, status),) = parents(root)
    assert status == "RUNNING"
    (root / "dvc.lock").write_text("as it is after")
    train(root, range(1))
    assert parents(root) == [(parent, "RUNNING")]
    tags = dict(rows(root, f"SELECT key, value FROM tags WHERE run_uuid = '{parent}'"))
    assert tags["params_sha256"] == hashlib.sha256(pretty_json(EXECUTION.parameters).encode()).hexdigest()
    assert tags["dvc_lock_sha256"] == hashlib.sha256(b"as it was").hexdigest()
    train(root, range(1), execution=tracking.Execution("toyset", {"seeds": [0, 1]}))
    assert len(parents(root)) == 2
    owners = rows(root, "SELECT value, COUNT(*) FROM tags WHERE key = 'mlflow.parentRunId' GROUP BY value")
    assert sorted(count for _, count in owners) == [1, 2]


def test_an_execution_is_finished_by_its_evaluation_and_goes_on_when_it_trains_again(root: Path) -> None:
    with opened(root) as run:
        run.finish(model_sha256="a" * 64)
    evaluation = tracking.Evaluation("toy", TAGS, "a" * 64, {"rsum": 40.0})
    assert tracking.add_evaluations(SETTINGS, [evaluation], root=root, dataset="toyset")
    assert [status for _, status in parents(root)] == ["FINISHED"]
    train(root, range(1))
    assert [status for _, status in parents(root)] == ["RUNNING"]


def test_the_experiment_is_that_of_the_dataset_and_an_unused_default_is_gone(root: Path) -> None:
    connect(SETTINGS, root, "other")
    names = "SELECT name FROM experiments WHERE lifecycle_stage = 'active' ORDER BY name"
    assert rows(root, names) == [("relalign/other",), ("relalign/toyset",)]


def test_a_default_experiment_that_somebody_uses_stays(tmp_path: Path) -> None:
    MlflowClient(tracking.store_uri(SETTINGS, tmp_path)).create_run("0")
    connect(SETTINGS, tmp_path, "toyset")
    assert ("Default", "active") in rows(tmp_path, "SELECT name, lifecycle_stage FROM experiments")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"start": "gone", "parameters": "x"}'])
def test_a_useless_resume_file_starts_a_new_run(
    root: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    (root / "run.json").write_text(content)
    train(root, range(1))
    assert rows(root, f"SELECT status FROM runs {CHILD}") == [("FINISHED",)]
    assert warnings_of(caplog) == []


def test_evaluation_joins_its_training_run_and_repeating_it_changes_nothing(root: Path) -> None:
    with opened(root) as run:
        run.finish(model_sha256="a" * 64)
    for _ in range(2):
        evaluation = tracking.Evaluation("toy", TAGS, "a" * 64, {"i2t/recall@1": 40.0})
        assert tracking.add_evaluations(SETTINGS, [evaluation], root=root, dataset="toyset")
    assert rows(root, "SELECT key, value FROM metrics") == [("test/i2t_recall_at_1", 40.0)]
    assert rows(root, f"SELECT COUNT(*) FROM runs {CHILD}") == [(1,)]


def test_evaluation_of_an_unknown_model_makes_its_own_run(root: Path) -> None:
    guest = tracking.Evaluation("guest", {}, "b" * 64, {"rsum": 1})
    tracking.add_evaluations(SETTINGS, [guest], root=root, dataset="toyset")
    assert rows(root, "SELECT name, status FROM runs") == [("guest", "FINISHED")]


def test_eight_processes_share_a_fresh_store_and_lose_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WORKER, str(tmp_path)]
    jobs = [subprocess.Popen([*command, str(seed)], stderr=subprocess.PIPE, text=True) for seed in range(8)]
    for job in jobs:
        errors = job.communicate(timeout=300)[1]
        assert (job.returncode, errors) == (0, "")
    assert rows(tmp_path, "SELECT COUNT(*) FROM metrics") == [(8 * 10 * 2,)]
    assert rows(tmp_path, "SELECT status, COUNT(*) FROM runs GROUP BY status ORDER BY status") == [
        ("FINISHED", 8),
        ("RUNNING", 1),  # the parent, which the comparison ends
    ]
    assert rows(
        tmp_path, "SELECT COUNT(*) FROM experiments WHERE name = 'relalign/toyset' AND lifecycle_stage = 'active'"
    ) == [(1,)]


def _closed_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


@pytest.mark.parametrize(
    "uri",
    [
        "http://127.0.0.1:{port}",
        "nonsense://x",
        "sqlite:////proc/nowhere/mlflow.db",
        "sqlite:///{root}/not-a-database",
    ],
)
def test_a_store_that_fails_is_one_warning_and_never_an_error(
    uri: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "not-a-database").write_text("hello " * 100)
    settings = Tracking(uri=uri.format(port=_closed_port(), root=tmp_path))
    started = time.monotonic()
    train(tmp_path, range(50), settings=settings)
    assert time.monotonic() - started < 30
    assert len(warnings_of(caplog)) == 1
    caplog.clear()
    evaluation = tracking.Evaluation("x", {}, "c" * 64, {"rsum": 1.0})
    assert not tracking.add_evaluations(settings, [evaluation], root=tmp_path, dataset="toyset")
    assert len(warnings_of(caplog)) == 1


def test_a_silent_server_delays_the_end_by_no_more_than_the_patience(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(PATIENCE, "server", 0.5)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        started = time.monotonic()
        train(tmp_path, range(3), settings=Tracking(uri=f"http://127.0.0.1:{server.getsockname()[1]}"))
        assert time.monotonic() - started < 2
        assert ["no answer within 0.5 s" in text for text in warnings_of(caplog)] == [True]


def test_a_failure_of_the_work_itself_is_passed_on(tmp_path: Path) -> None:
    settings = Tracking(uri="nonsense://x")
    with (
        pytest.raises(ZeroDivisionError),
        opened(tmp_path, settings=settings, parameters={}, tags={}),
    ):
        raise ZeroDivisionError


def test_switched_off_it_never_imports_mlflow(tmp_path: Path) -> None:
    code = WORKER.replace("Tracking(),", "Tracking(enabled=False),") + "\nassert 'mlflow' not in sys.modules\n"
    subprocess.run([sys.executable, "-c", code, str(tmp_path), "0"], check=True, timeout=60)
    assert list(tmp_path.iterdir()) == []
