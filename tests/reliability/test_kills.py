"""A stage that is killed at any moment and run again leaves the bytes of one that was not.

Three kills a stage in CI, fifty in the long tier. The moments are random and the same each time.
"""

import random
import time
from pathlib import Path

import pytest

from relalign.cli import main
from tests.reliability.staged_project import STAGES, StagedProject

KILLS = pytest.mark.parametrize("kills", [3, pytest.param(50, marks=pytest.mark.long)])
KILLED = ("download", "download-encoder", "validate", "relevance", "features image", "features text", "train", "export")
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
    while number < kills:
        if draw.random() < 0.7:  # else there is an older result, which is to be replaced
            project.remove(stage)
        moments = [draw.uniform(0, 0.9) * seconds for _ in range(min(3, kills - number))]
        hits += sum(project.kill(lambda: main(project.arguments(stage)), moment) for moment in moments)
        number += len(moments)
        project.run(stage)
        assert project.contents(*STAGES[stage].outputs) == expected, f"killed after {moments} s"
        assert project.left_behind() == [], f"killed after {moments} s"
    assert hits, "all kills came too late to test anything"
