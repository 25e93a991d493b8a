"""Jobs that branch off from a prepared process: the same work, the same end."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from relalign.orchestration import prepared

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="prepared processes are for Linux")

SERVER = """
import os, signal, sys, time
from pathlib import Path
from relalign.orchestration import prepared

def run(arguments):
    import torch
    match arguments[1:]:
        case ["tell"]:
            print(Path.cwd().name, os.environ["WORD"], torch.get_num_threads(), flush=True)
            print("aside", file=sys.stderr)
        case ["exit", status]:
            return int(status)
        case ["fail"]:
            raise ValueError("planted")
        case ["die"]:
            os.kill(os.getpid(), signal.SIGKILL)
        case ["wait", file]:
            Path(file).write_text(str(os.getpid()))
            time.sleep(60)
    return 0

prepared.IMPORTS = ()
sys.exit(prepared.serve(sys.argv[1], run))
"""
JOB = "import sys; from relalign.orchestration import prepared; sys.exit(prepared.delegate(sys.argv[1:]))"


class Server:
    """A prepared process with a made-up command line."""

    def __init__(self, folder: Path) -> None:
        self.address = folder / "jobs"
        command = [sys.executable, "-c", SERVER, str(self.address)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while not self.address.exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def job(self, *words: str, folder: Path | None = None, **more: str) -> subprocess.Popen[str]:
        """A job that asks for `stage` with these words."""
        environment = {**os.environ, prepared.ADDRESS: str(self.address), "OMP_NUM_THREADS": "1", **more}
        return subprocess.Popen(
            [sys.executable, "-c", JOB, "stage", *words],
            cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    started = Server(tmp_path)
    yield started
    started.process.communicate()


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().split()[2] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_worker_has_the_folder_environment_output_and_threads_of_its_job(server: Server, tmp_path: Path) -> None:
    (tmp_path / "ein ort").mkdir()
    out, err = server.job("tell", folder=tmp_path / "ein ort", WORD="wört", OMP_NUM_THREADS="2").communicate()
    assert out == "ein ort wört 2\n"
    assert err == "aside\n"


@pytest.mark.parametrize(
    ("words", "status"), [(("exit", "0"), 0), (("exit", "2"), 2), (("fail",), 1), (("die",), 128 + signal.SIGKILL)]
)
def test_job_ends_as_its_worker_does(server: Server, words: tuple[str, ...], status: int) -> None:
    job = server.job(*words)
    _, err = job.communicate()
    assert job.returncode == status
    assert ("ValueError: planted" in err) == (words == ("fail",))


def test_worker_ends_when_its_job_is_killed(server: Server, tmp_path: Path) -> None:
    job, note = server.job("wait", str(tmp_path / "worker")), tmp_path / "worker"
    while not (note.exists() and note.read_text()):
        time.sleep(0.02)
    worker = int(note.read_text())
    assert alive(worker)
    job.kill()
    job.communicate()
    deadline = time.monotonic() + 10
    while alive(worker) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not alive(worker)


def test_jobs_run_side_by_side(server: Server, tmp_path: Path) -> None:
    waiting = server.job("wait", str(tmp_path / "worker"))
    assert server.job("exit", "3").wait() == 3
    assert waiting.poll() is None
    waiting.kill()
    waiting.communicate()


def test_process_ends_with_the_one_that_started_it_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    server = Server(tmp_path / "own")
    server.process.communicate(timeout=10)
    assert server.process.returncode == 0
    assert not (tmp_path / "own").exists()


def test_without_a_prepared_process_a_job_works_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert prepared.delegate(["stage", "train"]) is None
    monkeypatch.setenv(prepared.ADDRESS, str(tmp_path / "gone"))
    assert prepared.delegate(["stage", "train"]) is None


def test_other_commands_are_not_passed_on(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(prepared.ADDRESS, str(server.address))
    assert prepared.delegate(["table"]) is None
