"""A stage that is killed at any moment and run again leaves the bytes of one that was not.

Three kills a stage in CI, fifty in the long tier. The moments are random and the same each time.
"""

import os
import random
import shutil
import signal
import sqlite3
import time
from pathlib import Path

import pytest
from dvc.repo import Repo
from mlflow import MlflowClient

from relalign.cli import main
from relalign.orchestration.dvc_records import changed
from tests.reliability.staged_project import STAGES, StagedProject

KILLS = pytest.mark.parametrize("kills", [3, pytest.param(50, marks=pytest.mark.long)])
KILLED = (
    "download",
    "download-encoder",
    "validate",
    "relevance",
    "features image",
    "features text",
    "train",
    "export",
)
KILLED += ("evaluate", "compare", "report")
OF_ENCODERS_THAT_TRAIN = ("features image", "features text", "train", "export", "evaluate")


@KILLS
@pytest.mark.parametrize("stage", KILLED)
def test_a_stage_killed_at_random_moments_and_run_again_leaves_the_bytes_of_one_that_was_not(
    frozen: StagedProject, tmp_path: Path, stage: str, kills: int
) -> None:
    kill_and_run_again(frozen.copy(tmp_path / "project"), stage, kills)


@KILLS
@pytest.mark.parametrize("stage", OF_ENCODERS_THAT_TRAIN)
def test_the_same_holds_with_encoders_that_train(
    cut: StagedProject, tmp_path: Path, stage: str, kills: int
) -> None:
    kill_and_run_again(cut.copy(tmp_path / "project"), stage, kills)


def kill_and_run_again(project: StagedProject, stage: str, kills: int) -> None:
    """Kill the stage up to three times before it may go on to its end, until it was killed that often."""
    expected = project.contents(*STAGES[stage].outputs)
    project.remove(stage)
    began = time.monotonic()
    project.run(stage)
    seconds = time.monotonic() - began
    assert project.contents(*STAGES[stage].outputs) == expected, "not even an uninterrupted run gives equal bytes"
    draw, number, hits = random.Random(stage), 0, 0
    while number < kills or not hits:
        if draw.random() < 0.7:  # else there is an older result, which is to be replaced
            project.remove(stage)
        moments = [draw.uniform(0, 0.9) * seconds for _ in range(max(1, min(3, kills - number)))]
        hits += sum(project.kill(lambda: main(project.arguments(stage)), moment) for moment in moments)
        number += len(moments)
        project.run(stage)
        assert project.contents(*STAGES[stage].outputs) == expected, f"killed after {moments} s"
        assert project.left_behind() == [], f"killed after {moments} s"
        seconds /= 1 if hits else 2  # all came too late: it is faster than it was at first


@KILLS
def test_a_training_killed_while_it_is_tracked_leaves_one_finished_run_with_every_epoch_once(
    frozen: StagedProject, tmp_path: Path, kills: int
) -> None:
    project = frozen.copy(tmp_path / "project")
    project.clone.edit_params(tracking={"enabled": True})
    expected = project.contents(*STAGES["train"].outputs)
    began = time.monotonic()
    project.run("train")
    seconds = time.monotonic() - began
    whole = runs_of(project)
    draw, number, hits = random.Random("tracked"), 0, 0
    while number < kills or not hits:
        project.remove("train")
        if draw.random() < 0.5:  # the store too is made while the kills come
            for file in project.root.glob("mlflow.db*"):
                file.unlink()
        for _ in range(max(1, min(3, kills - number))):
            moment = draw.uniform(0, 0.9) * seconds
            hits += project.kill(lambda: main(project.arguments("train")), moment)
            number += 1
        said = project.run("train")
        assert "tracking stopped" not in said, said
        assert project.contents(*STAGES["train"].outputs) == expected
        assert runs_of(project)[-1] == whole[-1]
        assert {status for status, _ in runs_of(project)} == {"FINISHED"}
        seconds /= 1 if hits else 2


def runs_of(project: StagedProject) -> list[tuple[str, list[tuple[str, int, float]]]]:
    """Status and history of every training's run, in the order in which they began."""
    with sqlite3.connect(project.root / "mlflow.db") as store:
        runs = store.execute(
            "select run_uuid, status from runs where run_uuid in (select run_uuid from tags where key = 'method')"
            " order by start_time"
        ).fetchall()
        history = "select key, step, value from metrics where run_uuid = ? order by key, step"
        return [(status, store.execute(history, (run,)).fetchall()) for run, status in runs]


@KILLS
def test_a_commit_to_dvc_that_is_killed_and_run_again_leaves_the_lock_and_the_cache_of_one_that_was_not(
    frozen: StagedProject, tmp_path: Path, kills: int
) -> None:
    project = frozen.copy(tmp_path / "project")
    names = stage_names(project)
    places = ("dvc.lock", ".dvc/cache/files", "results", "data/features", "data/pairs")
    began = time.monotonic()
    assert project.wait(project.start(lambda: commit_all(names))) == 0
    seconds = time.monotonic() - began
    expected = project.contents(*places)
    assert expected["dvc.lock"]
    draw, number, hits = random.Random("commit"), 0, 0
    while number < kills or not hits:
        (project.root / "dvc.lock").unlink(missing_ok=True)
        shutil.rmtree(project.root / ".dvc/cache")
        for _ in range(max(1, min(3, kills - number))):
            hits += project.kill(lambda: commit_all(names), draw.uniform(0, 0.9) * seconds)
            number += 1
        assert project.wait(project.start(lambda: commit_all(names))) == 0, project.said()
        assert project.contents(*places) == expected
        seconds /= 1 if hits else 2


def test_a_commit_to_dvc_that_is_killed_while_it_writes_leaves_the_old_lock(project: StagedProject) -> None:
    names = stage_names(project)
    assert project.wait(project.start(lambda: commit_all(names[:3]))) == 0
    before = project.contents("dvc.lock")
    killed = project.start(lambda: (killed_when_it_would(Path, "replace"), commit_all(names))[1])
    assert project.wait(killed) == -signal.SIGKILL, "it never puts a whole file in the place of the old one"
    assert project.contents("dvc.lock") == before
    (project.root / ".dvc/tmp/rwlock").write_text("")  # as a kill leaves it while DVC notes who is at work
    assert project.wait(project.start(lambda: commit_all(names))) == 0, project.said()
    assert project.contents("dvc.lock") != before


def test_a_tracking_store_whose_making_was_killed_is_made_again(project: StagedProject) -> None:
    project.clone.edit_params(tracking={"enabled": True})
    project.remove("train")
    killed = project.start(lambda: (killed_when_it_would(Path, "rename"), main(project.arguments("train")))[1])
    assert project.wait(killed) == -signal.SIGKILL, "it makes the store under its own name"
    assert not (project.root / "mlflow.db").exists()
    project.remove("train")
    assert "tracking stopped" not in project.run("train")
    assert [status for status, _ in runs_of(project)] == ["FINISHED"]


def test_a_run_of_which_only_the_name_was_written_when_it_was_killed_is_the_one_that_goes_on(
    project: StagedProject,
) -> None:
    project.clone.edit_params(tracking={"enabled": True})
    project.remove("train")
    killed = project.start(
        lambda: (killed_when_it_would(MlflowClient, "log_batch"), main(project.arguments("train")))[1]
    )
    assert project.wait(killed) == -signal.SIGKILL
    assert [status for status, _ in runs_of(project)] == ["RUNNING"]
    project.run("train")
    assert [status for status, _ in runs_of(project)] == ["FINISHED"]


def test_a_draft_that_was_killed_before_it_had_its_name_is_removed_by_the_next_run(project: StagedProject) -> None:
    project.remove("features image")
    arguments = project.arguments("features image")
    killed = project.start(lambda: (killed_when_it_would(Path, "rename"), main(arguments))[1])
    assert project.wait(killed) == -signal.SIGKILL
    assert project.left_behind()
    project.run("features image")
    assert project.left_behind() == []


def killed_when_it_would(owner: type, name: str) -> None:
    """Make this process `kill -9` itself in place of calling that."""
    setattr(owner, name, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))


def stage_names(project: StagedProject) -> list[str]:
    """Those of all stages of dvc.yaml."""
    return [stage.name for stage in Repo(project.root).index.stages]


def commit_all(names: list[str]) -> int:
    """What Snakemake does at its end (relalign.orchestration.dvc_sync), in the working folder."""
    changed(names, commit=True)
    return 0
