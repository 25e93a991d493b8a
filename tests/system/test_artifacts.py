"""What is published is whole and on disk before anybody can see it, whenever the process is killed."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from relalign.errors import RelalignError
from relalign.system.artifacts import publish, read_manifest, write_atomic


def _publish(folder: Path, answer: str) -> None:
    with publish(folder, made_by="tests") as draft:
        (draft / "part").mkdir()
        (draft / "part/answer.txt").write_text(answer)
        (draft / "other.txt").write_text("other")


def test_every_file_is_on_disk_before_the_rename_that_makes_it_visible(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed, seen = set(), []
    fsync, rename = os.fsync, os.rename

    def recorded_fsync(handle: int) -> None:
        flushed.add(os.fstat(handle).st_ino)
        fsync(handle)

    def checked_rename(source: Path, target: Path) -> None:
        files = [path for path in Path(source).rglob("*") if path.is_file()]
        assert [path.name for path in files if path.stat().st_ino not in flushed] == []
        seen.append(sorted(path.name for path in files))
        rename(source, target)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(os, "rename", checked_rename)
    _publish(tmp_path / "result", "new")
    assert seen == [["answer.txt", "manifest.json", "other.txt"]]


def _publish_and_die_at(step: int, folder: Path) -> None:
    steps = count()

    def counted(call: Callable[..., object], *arguments: object) -> object:
        if next(steps) == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*arguments)

    for name in ("fsync", "rename", "replace"):
        setattr(os, name, partial(counted, getattr(os, name)))
    _publish(folder, "new")


@pytest.mark.parametrize("replaces", [False, True])
def test_a_process_killed_at_any_step_leaves_the_old_result_the_new_one_or_none(
    tmp_path: Path, replaces: bool
) -> None:
    for step in count():
        folder = tmp_path / str(step) / "result"
        if replaces:
            _publish(folder, "old")
        process = multiprocessing.get_context("fork").Process(target=_publish_and_die_at, args=(step, folder))
        process.start()
        process.join()
        if folder.exists():
            read_manifest(folder, verify=True)
            assert (folder / "part/answer.txt").read_text() in ("old", "new")
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
        _publish(folder, "again")
        assert (folder / "part/answer.txt").read_text() == "again"
    assert step > 5


def _fail_half_way(folder: Path) -> None:
    with publish(folder, made_by="tests") as draft:
        (draft / "half.txt").write_text("half")
        raise ZeroDivisionError


def test_an_error_while_a_result_is_made_leaves_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    _publish(tmp_path / "result", "old")
    with pytest.raises(ZeroDivisionError):
        _fail_half_way(tmp_path / "result")
    assert [path.name for path in tmp_path.iterdir()] == ["result"]
    assert (tmp_path / "result/part/answer.txt").read_text() == "old"


def test_a_file_that_cannot_be_written_whole_stays_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_atomic(tmp_path / "numbers.json", "old")

    def full(handle: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="disk full"):
        write_atomic(tmp_path / "numbers.json", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["numbers.json"]
    assert (tmp_path / "numbers.json").read_text() == "old"


@pytest.mark.parametrize(
    ("damage", "message"),
    [(b"ne", "missing or truncated"), (b"old", "differs from its manifest"), (None, "missing or truncated")],
)
def test_a_truncated_altered_or_missing_file_is_named(tmp_path: Path, damage: bytes | None, message: str) -> None:
    _publish(tmp_path / "result", "new")
    file = tmp_path / "result/part/answer.txt"
    file.unlink() if damage is None else file.write_bytes(damage)
    with pytest.raises(RelalignError, match=rf"answer\.txt.*{message}"):
        read_manifest(tmp_path / "result", verify=True)
