"""Faults that are made on purpose: nothing is lost or half-written, and a sentence says what is wrong."""

import os
import resource
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.reliability.staged_project import FEATURES, STAGES, StagedProject

WRITERS = (
    "download",
    "validate",
    "relevance",
    "features text",
    "train",
    "export",
    "evaluate",
    "compare",
    "report",
)
NOBODY = 65534
needs_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root can mount a small disk or become somebody else"
)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with 24 MB."""
    folder = tmp_path / "small disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@needs_root
def test_on_a_full_disk_every_stage_says_so_and_ends_in_the_same_bytes_once_there_is_space(
    frozen: StagedProject, small_disk: Path
) -> None:
    project = frozen.copy(small_disk / "project")
    for stage in WRITERS:
        expected = project.contents(*STAGES[stage].outputs)
        project.remove(stage)
        fill(small_disk)
        said = project.run(stage, code=2)
        assert "The disk is full" in said, f"{stage}: {said}"
        assert "Traceback" not in said
        assert project.contents(*STAGES[stage].outputs).items() <= expected.items(), stage
        assert [name for name in project.left_behind() if not name.endswith(".checkpoint")] == []
        (small_disk / "ballast").unlink()
        project.run(stage)
        assert project.contents(*STAGES[stage].outputs) == expected


def fill(disk: Path) -> None:
    """Leave no byte free."""
    with (disk / "ballast").open("wb", buffering=0) as stream, suppress(OSError):
        while True:
            stream.write(b"\0" * 4096)
    assert shutil.disk_usage(disk).free == 0


def limited(what: int, number: int) -> Callable[[], None]:
    """What sets a limit for the process in which it is called."""
    return lambda: resource.setrlimit(what, (number, resource.getrlimit(what)[1]))


@pytest.fixture
def shown(frozen: StagedProject) -> Iterator[StagedProject]:
    """A project where every user may read."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        project = frozen.copy(Path(folder) / "project")
        (project.root / ".relalign").chmod(0o777)
        for lock in (project.root / ".relalign").iterdir():
            lock.chmod(0o666)
        yield project


@needs_root
def test_somebody_who_may_not_write_there_is_told_so_by_name(shown: StagedProject) -> None:
    before = shown.contents("data", "results")
    for stage in WRITERS:
        said = shown.run(stage, lambda: os.setuid(NOBODY), code=2)
        assert "error: This user has no permission" in said, said
        assert str(shown.root) in said
        assert "Traceback" not in said
    assert shown.contents("data", "results") == before


@needs_root
def test_somebody_who_may_not_read_an_input_is_told_which(shown: StagedProject) -> None:
    places = [*(shown.root / "results").rglob("*"), shown.root / "results", shown.root / "data/pairs"]
    for folder in filter(Path.is_dir, places):
        folder.chmod(0o777)
    image = shown.root / "data/raw/tiny/images/07.png"
    tokens = shown.root / f"{FEATURES}/tiny-vit/tokens.npy"
    for stage, file in (("validate", image), ("train", tokens)):
        file.chmod(0)
        said = shown.run(stage, lambda: os.setuid(NOBODY), code=2)
        assert "error: This user has no permission" in said, said
        assert str(file) in said
        file.chmod(0o444)
        shown.run(stage, lambda: os.setuid(NOBODY))


def test_inputs_that_may_only_be_read_are_enough(shown: StagedProject) -> None:
    """root may write all the same: what is proven is then that nobody does."""
    for path in (shown.root / "data").rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = shown.contents("data")
    for stage in ("train", "export", "evaluate", "compare", "report"):
        shown.run(stage)
    assert shown.contents("data") == before


def test_features_of_more_images_than_files_may_be_open_are_the_same(project: StagedProject) -> None:
    images = len(list((project.root / "data/raw/tiny/images").iterdir()))
    open_already = len(os.listdir("/proc/self/fd"))
    for stage in ("validate", "features image"):
        expected = project.contents(*STAGES[stage].outputs)
        project.remove(stage)
        project.run(stage, limited(resource.RLIMIT_NOFILE, open_already + images))
        assert project.contents(*STAGES[stage].outputs) == expected


def test_too_few_open_files_are_a_sentence(project: StagedProject) -> None:
    def hold_all_but_a_few() -> None:
        from relalign.data import pairs

        read = pairs.read_manifest

        def exhausted(folder: Path, **checks: object) -> object:
            limited(resource.RLIMIT_NOFILE, len(os.listdir("/proc/self/fd")))()
            return read(folder, **checks)  # type: ignore[arg-type]

        pairs.read_manifest = exhausted

    said = project.run("relevance", hold_all_but_a_few, code=2)
    assert "Allow more with `ulimit -n 4096`" in said, said
    assert "Traceback" not in said


def test_a_clock_that_was_set_back_changes_no_byte(project: StagedProject) -> None:
    def set_back() -> None:
        import time

        started = time.monotonic()
        time.time = lambda: 1e9 - (time.monotonic() - started)  # in 2001, and running backwards
        time.time_ns = lambda: int(time.time() * 1e9)

    project.clone.edit_params(tracking={"enabled": True})
    for path in (project.root / "data").rglob("*"):
        os.utime(path, (4e9, 4e9))  # the inputs are of 2096
    for stage in ("validate", "features text", "train", "export", "evaluate", "compare", "report"):
        expected = project.contents(*STAGES[stage].outputs)
        project.remove(stage)
        assert "tracking stopped" not in project.run(stage, set_back)
        assert project.contents(*STAGES[stage].outputs) == expected


@pytest.mark.parametrize("share", [0.001, 0.3, 0.7])
def test_a_half_written_tracking_store_is_said_with_the_way_out_and_costs_no_result(
    project: StagedProject, share: float
) -> None:
    project.clone.edit_params(tracking={"enabled": True})
    expected = project.contents(*STAGES["train"].outputs)
    store = project.root / "mlflow.db"
    project.run("train")
    whole = store.read_bytes()
    store.write_bytes(whole[: int(share * len(whole))])
    project.remove("train")
    said = project.run("train")
    assert "Traceback" not in said
    assert project.contents(*STAGES["train"].outputs) == expected
    assert f"move {store} away" in said
    shutil.move(store, project.root / "damaged.db")
    project.remove("train")
    assert "tracking stopped" not in project.run("train")
    with sqlite3.connect(store) as made_anew:
        assert ("FINISHED",) in made_anew.execute("select status from runs").fetchall()
