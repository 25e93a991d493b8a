"""A Slurm cluster of two nodes on this machine, in a folder of its own, which ends with the test.

Nothing outside the folder is touched, and several may run at once: the daemons have ports, keys and sockets of
their own, and `bin` holds the commands, each of which is told where the settings of this cluster are. (The plugin of
Snakemake removes SLURM_CONF from the environment of jobs, so the environment alone cannot say it.)
"""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

NEEDED = ("slurmctld", "slurmd", "munged", "sbatch")
PACKAGES = "slurmctld slurmd slurm-client munge"
NODES = ("one", "two")
CLIENTS = ("sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo", "sacct")
# Jobs are told their limits, and slurmd looks at their memory every second: no cgroups are needed for that.
SETTINGS = """ClusterName=relalign
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket
MpiDefault=none
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmdSpoolDir={folder}/spool-%n
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory,CR_LLN
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1,bf_interval=1
ReturnToService=2
MinJobAge=900
KillWait=2
InactiveLimit=0
NodeName={nodes[0]} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2 RealMemory=64000
NodeName={nodes[1]} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2 RealMemory=64000
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


@dataclass(frozen=True)
class Cluster:
    """A running cluster: `bin` belongs at the head of PATH."""

    folder: Path

    @property
    def bin(self) -> Path:
        return self.folder / "bin"

    def ask(self, command: str, *arguments: str) -> str:
        """What one of Slurm's commands prints."""
        return subprocess.run(
            [str(self.bin / command), *arguments], check=True, capture_output=True, text=True, timeout=60
        ).stdout

    def jobs(self) -> list[list[str]]:
        """Of each job that was ever submitted here, the first one first: state, node, memory and time limit."""
        printed = self.ask("squeue", "--noheader", "--states=all", "--sort=i", "--format=%T|%N|%m|%l")
        return [line.split("|") for line in printed.splitlines()]


def missing() -> str:
    """Why no cluster can be started here; empty if one can."""
    absent = [program for program in NEEDED if shutil.which(program, path=_path()) is None]
    return f"{', '.join(absent)} not found: apt-get install {PACKAGES}" if absent else ""


@contextmanager
def cluster() -> Iterator[Cluster]:
    """Start munged, slurmctld and a slurmd for each node; stop them at the end, whatever happens."""
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))  # short: a socket's path has at most 107 bytes
    folder.chmod(0o755)
    started: list[subprocess.Popen[bytes]] = []
    try:
        _write(folder)
        settings = str(folder / "slurm.conf")
        _start(started, folder, *_munged(folder))
        _wait(lambda: (folder / "munge.socket").exists(), folder)
        _start(started, folder, "slurmctld", "-D", "-f", settings)
        for node in NODES:
            _start(started, folder, "slurmd", "-D", "-N", node, "-f", settings)
        running = Cluster(folder)
        _wait(lambda: _idle(running) == len(NODES), folder)
        yield running
    finally:
        for process in reversed(started):
            process.terminate()
        for process in reversed(started):
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(folder)


def _write(folder: Path) -> None:
    user = pwd.getpwuid(os.getuid()).pw_name
    content = SETTINGS.format(
        folder=folder, user=user, host=socket.gethostname(), ports=_free_ports(3), nodes=NODES
    )
    (folder / "slurm.conf").write_text(content)
    for name in ("state", "bin", *(f"spool-{node}" for node in NODES)):
        (folder / name).mkdir()
    for name in CLIENTS:
        client = folder / "bin" / name
        program = shutil.which(name, path=_path())
        client.write_text(f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {program} "$@"\n')
        client.chmod(0o755)
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)


def _munged(folder: Path) -> Sequence[str]:
    places = {"socket": "socket", "key-file": "key", "pid-file": "pid", "seed-file": "seed", "log-file": "log"}
    files = [f"--{option}={folder}/munge.{ending}" for option, ending in places.items()]
    # By force, as the folder lies below one that everybody may write to.
    return ["munged", "--foreground", "--force", *files]


def _start(started: list[subprocess.Popen[bytes]], folder: Path, *command: str) -> None:
    program = shutil.which(command[0], path=_path())
    assert program, missing()
    with (folder / "daemons.log").open("ab") as log:
        started.append(subprocess.Popen([program, *command[1:]], stdout=log, stderr=log, start_new_session=True))


def _idle(running: Cluster) -> int:
    try:
        return running.ask("sinfo", "-h", "-N", "-o", "%N %T").count(" idle")
    except subprocess.CalledProcessError:
        return 0


def _wait(until: Callable[[], bool], folder: Path, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not until():
        said = {log.name: log.read_text(errors="replace")[-2000:] for log in folder.glob("*.log")}
        assert time.monotonic() < deadline, f"Slurm did not start: {said}"
        time.sleep(0.2)


def _free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def _path() -> str:
    return f"{os.environ['PATH']}:/usr/sbin:/sbin"
