"""A process that has imported what jobs need, from which Snakemake's jobs on this machine branch off (Linux).

torch and MLflow take longer to import than most jobs take to work: on the default data, five of seven CPU seconds
of an export. So `start` lets Snakemake have one process that imports them once and waits. A job then asks it,
through a socket, to fork a copy of itself that does the job's command:

    Snakemake -> job: `relalign stage ...` (`delegate`) --socket--> `serve` -> keeper -> worker

The worker has the job's arguments, folder, environment and output. It ends when the job is killed, and the job
ends as it ended. All end when Snakemake ends. Where there is no such process (DVC, a cluster, an image, another
system, or one that is not ready yet), a job does its own imports: the work is the same.
"""

import atexit
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Never

ADDRESS = "RELALIGN_PREPARED"
COMMANDS = ("stage", "study")
JOBS_WORTH_IT = 6
IMPORTS = (
    "relalign.evaluation.stage",
    "relalign.training.runs",
    "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.tracking",
)
_LONGEST_ADDRESS = 100  # of a socket, by the kernel's rule


def start(workflow: Any) -> None:
    """Start the process for the jobs that Snakemake is about to run here. To be called in `onstart`."""
    here = workflow.is_main_process and workflow.local_exec and not workflow.touch
    here = (
        here and not workflow.deployment_settings.deployment_method
    )  # in an image: this process is outside of it
    jobs = sum(map(workflow._dag.needrun, workflow._dag.jobs))
    if not here or jobs < JOBS_WORTH_IT or sys.platform != "linux":
        return
    folder = Path(tempfile.mkdtemp(prefix="relalign-"))
    address = str(folder / "jobs")
    if len(address.encode()) > _LONGEST_ADDRESS:
        folder.rmdir()
        return
    relalign = str(Path(sys.executable).parent / "relalign")
    # The pipe's other end closes when Snakemake ends, in whatever way, and so the process ends.
    process = subprocess.Popen((relalign, "prepared", address), stdin=subprocess.PIPE)
    atexit.register(process.communicate)
    os.environ[ADDRESS] = address


def delegate(arguments: Sequence[str]) -> int | None:
    """Let the prepared process do this command and wait for its exit status; None where there is none to ask."""
    address = os.environ.get(ADDRESS)
    if address is None or not arguments or arguments[0] not in COMMANDS:
        return None
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(address)
        except OSError:
            return None
        request = json.dumps([list(arguments), str(Path.cwd()), dict(os.environ)]).encode()
        socket.send_fds(connection, [len(request).to_bytes(4, "big")], [1, 2])
        connection.sendall(request)
        answer = connection.recv(1)
    return answer[0] if answer else 128 + signal.SIGKILL


def serve(address: str, run: Callable[[Sequence[str]], int]) -> int:
    """Import, then fork a worker for every command that comes in at `address`, until standard input closes."""
    for module in IMPORTS:
        importlib.import_module(module)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; this one ends with Snakemake
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how keepers end
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{address}.new")
        listener.listen(128)
        Path(f"{address}.new").rename(address)
        while sys.stdin not in select.select([sys.stdin, listener], [], [])[0]:
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                _keep_worker(connection, run)
            connection.close()
    with suppress(OSError):
        Path(address).unlink()
        Path(address).parent.rmdir()
    return 0


def _keep_worker(connection: socket.socket, run: Callable[[Sequence[str]], int]) -> Never:
    """Fork the worker, wait for it, and tell the job how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    length, outputs, _, _ = socket.recv_fds(connection, 4, 2)
    request = connection.recv(int.from_bytes(length, "big"), socket.MSG_WAITALL)
    worker = os.fork()
    if worker == 0:
        connection.close()
        _work(run, outputs, *json.loads(request))
    ended = os.pidfd_open(worker)
    ready = select.select([connection.fileno(), ended], [], [])[0]
    if ended not in ready:  # the job that asked for the work is gone
        os.kill(worker, signal.SIGTERM)
    status = os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])
    with suppress(OSError):
        connection.send(bytes([status if status >= 0 else 128 - status]))
    os._exit(0)


def _work(
    run: Callable[[Sequence[str]], int],
    outputs: Sequence[int],
    arguments: Sequence[str],
    folder: str,
    environment: dict[str, str],
) -> Never:
    import torch
    from threadpoolctl import threadpool_limits

    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    del os.environ[ADDRESS]
    for standard, output in zip((1, 2), outputs, strict=True):
        os.dup2(output, standard)
        os.close(output)
    threads = int(environment["OMP_NUM_THREADS"])  # Snakemake's word, which libraries read when they are loaded
    torch.set_num_threads(threads)
    threadpool_limits(threads)
    status = run(arguments)
    # To take down an interpreter with torch in it takes two seconds, for nothing.
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
