"""A Slurm cluster of two nodes on this machine, in a folder of its own, which ends with the test.

Nothing outside the folder is touched, and several may run at once: the daemons have ports, keys and sockets of
their own, and `bin` holds the commands, each of which is told where this cluster has its settings. (The plugin of
Snakemake removes SLURM_CONF from the environment of jobs, so the environment alone cannot say it.)
"""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.servers.local_server import free_ports, running

NEEDED = ("slurmctld", "slurmd", "munged", "sbatch")
PACKAGES = "slurmctld slurmd slurm-client munge"
NODES = ("one", "two")
CLIENTS = ("sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo", "sacct")
# On a busy machine `scontrol show config` takes more than ten seconds, after which the plugin asks sacct, which
# knows nothing where there is no accounting. What is always the same is therefore said at once.
CLIENT = """#!/bin/sh
[ "${{0##*/}} $*" = "scontrol show config" ] && [ -e {folder}/config ] && exec cat {folder}/config
SLURM_CONF={folder}/slurm.conf exec {program} "$@"
"""
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
MinJobAge=100000
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
    def controller(self) -> int:
        """The process that everybody asks."""
        return int((self.folder / "slurmctld.pid").read_text())

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

    def idle(self) -> int | None:
        """How many nodes wait for work; None as long as nobody answers."""
        try:
            return self.ask("sinfo", "--noheader", "--Node", "--format=%N %T").count(" idle")
        except subprocess.CalledProcessError:
            return None


def missing() -> str:
    """Why no cluster can be started here; empty if one can."""
    absent = [program for program in NEEDED if shutil.which(program, path=_path()) is None]
    return f"{', '.join(absent)} not found: apt-get install {PACKAGES}" if absent else ""


@contextmanager
def cluster() -> Iterator[Cluster]:
    """Start munged, slurmctld and a slurmd for each node; stop them at the end, whatever happens."""
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))  # short: a socket's path has at most 107 bytes
    folder.chmod(0o755)
    here, settings = Cluster(folder), str(folder / "slurm.conf")
    try:
        _write(folder)
        with ExitStack() as stack:

            def start(name: str, *arguments: str, answers: Callable[[], bool]) -> None:
                command = [str(shutil.which(name, path=_path())), *arguments]
                stack.enter_context(running(command, answers, folder / "daemons.log"))

            start("munged", *_munged(folder), answers=(folder / "munge.socket").exists)
            start("slurmctld", "-D", "-f", settings, answers=lambda: here.idle() is not None)
            for number, node in enumerate(NODES, 1):
                start(
                    "slurmd", "-D", "-N", node, "-f", settings, answers=lambda number=number: here.idle() == number
                )
            (folder / "config").write_text(here.ask("scontrol", "show", "config"))
            yield here
    finally:
        shutil.rmtree(folder)


def _write(folder: Path) -> None:
    user = pwd.getpwuid(os.getuid()).pw_name
    content = SETTINGS.format(
        folder=folder, user=user, host=socket.gethostname(), ports=free_ports(3), nodes=NODES
    )
    (folder / "slurm.conf").write_text(content)
    for name in ("state", "bin", *(f"spool-{node}" for node in NODES)):
        (folder / name).mkdir()
    for name in CLIENTS:
        client = folder / "bin" / name
        program = shutil.which(name, path=_path())
        client.write_text(CLIENT.format(folder=folder, program=program))
        client.chmod(0o755)
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)


def _munged(folder: Path) -> Sequence[str]:
    places = {"socket": "socket", "key-file": "key", "pid-file": "pid", "seed-file": "seed", "log-file": "log"}
    files = [f"--{option}={folder}/munge.{ending}" for option, ending in places.items()]
    # By force, as the folder lies below one that everybody may write to.
    return ["--foreground", "--force", *files]


def _path() -> str:
    return f"{os.environ['PATH']}:/usr/sbin:/sbin"
