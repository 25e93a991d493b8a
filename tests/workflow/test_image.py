"""`--sdm apptainer` runs jobs in the image. A stand-in takes its place, so this says nothing of the image."""

import sys
from pathlib import Path

import pytest

from tests.workflow.clone import Clone

pytestmark = pytest.mark.workflow

# Writes down what it was asked, and runs the command with this environment in the place of the image's.
STAND_IN = """#!/bin/sh
[ "$1" = --version ] && exec echo apptainer version 1.4.0
printf '%s\\n' "$*" >> {calls}
for command; do :; done
exec bash -c "$(printf %s "$command" | sed 's#/opt/relalign/.venv/bin#{environment}#')"
"""


def test_jobs_run_in_the_image_with_the_sources_of_the_checkout(
    project: Clone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, stand_in = tmp_path / "calls", tmp_path / "bin/apptainer"
    stand_in.parent.mkdir()
    stand_in.write_text(STAND_IN.format(calls=calls, environment=Path(sys.executable).parent))
    stand_in.chmod(0o755)
    environment = project.environment()
    monkeypatch.setattr(
        project, "environment", lambda: environment | {"PATH": f"{stand_in.parent}:{environment['PATH']}"}
    )
    before = project.contents("results")
    project.run("rm", "-rf", "results/tiny/cca")
    project.snakemake("results/tiny/comparison.csv", "--sdm", "apptainer")
    assert project.contents("results") == before
    asked = calls.read_text()
    for stage in ("method", "train", "export", "evaluate"):
        assert f"relalign stage {stage} --dataset tiny" in asked
    assert asked.count("containers/relalign.sif bash -c") == asked.count('PYTHONPATH="$PWD/src";  relalign')


def test_other_environments_are_refused(made_project: Clone) -> None:
    assert "apptainer alone" in made_project.snakemake("--dry-run", "--sdm", "conda", succeeds=False)
