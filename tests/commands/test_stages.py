"""Stage commands: what holds for all of them."""

import subprocess
import sys
from pathlib import Path

import yaml
from filelock import FileLock

from tests.tiny_project import tiny_params


def params_stage(root: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "relalign.cli", "stage", "params"]
    return subprocess.Popen(command, cwd=root, stderr=subprocess.PIPE, text=True)


def test_stage_waits_for_a_process_that_does_the_same(tmp_path: Path) -> None:
    params = tiny_params()
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params.model_dump(mode="json", by_alias=True)))
    made = tmp_path / f"results/{params.dataset}/params.json"
    (tmp_path / ".relalign").mkdir()
    with FileLock(tmp_path / f".relalign/{params.dataset}-params.lock"):
        stage = params_stage(tmp_path)
        assert stage.stderr is not None
        assert "waiting for another process" in stage.stderr.readline()
        assert not made.exists()
    assert stage.wait(60) == 0
    assert made.exists()


def test_recorded_params_hold_defaults_but_no_store_address(tmp_path: Path) -> None:
    raw = tiny_params().model_dump(mode="json", by_alias=True) | {"tracking": {"uri": "postgresql://u:secret@h/d"}}
    raw["validate"] = {}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(raw))
    assert params_stage(tmp_path).wait(60) == 0
    record = (tmp_path / f"results/{raw['dataset']}/params.json").read_text()
    assert "max_pixels" in record
    assert "secret" not in record


def test_wrong_params_are_one_line_and_exit_status_2(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("dataset: [")
    stage = params_stage(tmp_path)
    assert stage.wait(60) == 2
    assert stage.stderr is not None
    assert stage.stderr.read().startswith("error: ")
