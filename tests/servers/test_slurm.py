"""The unchanged workflow on a real Slurm cluster of two nodes, whatever the scheduler does to its jobs."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from tests.servers.slurm import NODES, Cluster
from tests.workflow.clone import Clone

pytestmark = [pytest.mark.workflow, pytest.mark.long]

RUN = "results/tiny/contrastive/seed0"
CHECKPOINT = "results/tiny/contrastive/.seed0.checkpoint/*.safetensors"
# As profiles/slurm says for a cluster without accounting; looked at often, as nothing here takes minutes.
COMMAND = ("snakemake", "--profile", "profiles/slurm", "--slurm-no-account", "--slurm-status-command", "squeue",
           "--slurm-init-seconds-before-status-checks", "2")  # fmt: skip
SECONDS = 600
Found = TypeVar("Found")


@pytest.fixture(autouse=True)
def on_the_cluster(slurm: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{slurm.bin}:{os.environ['PATH']}")


def submit(project: Clone, *targets: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *targets], cwd=project.root, env=project.environment(), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        # What a shell starts in the background ignores Ctrl-C, and so does what that starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


def ended(snakemake: subprocess.Popen[str]) -> str:
    """What Snakemake said by its end, which is a good one."""
    try:
        said, _ = snakemake.communicate(timeout=SECONDS)
    finally:
        snakemake.kill()
    assert snakemake.returncode == 0, said[-6000:]
    return said


def eventually(look: Callable[[], Found]) -> Found:
    """What `look` finds once it finds something."""
    deadline = time.monotonic() + SECONDS
    while not (found := look()):
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.05)
    return found


def training(project: Clone) -> int | None:
    """The process that trains in this project, once it has something to go on with."""
    if not list(project.root.glob(CHECKPOINT)):
        return None
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            if b"train" in words and b"stage" in words and (process / "cwd").samefile(project.root):
                return int(process.name)
        except OSError:  # it has ended, or is somebody else's
            continue
    return None


@pytest.fixture(scope="module")
def trained(made_project: Clone, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A project with one training that is long enough to be stopped in the middle, made without Slurm."""
    project = made_project.copy(tmp_path_factory.mktemp("trained") / "project")
    project.edit_params(training={"epochs": 60, "patience": 60})
    project.snakemake(f"{RUN}/metrics.json")
    return project


@pytest.fixture
def untrained(trained: Clone, tmp_path: Path) -> Clone:
    """The same project without what its training made."""
    project = trained.copy(tmp_path / "project")
    project.run("rm", "-rf", RUN, "results/tiny/.receipts/contrastive-seed0.json", ".dvc/cache")
    return project


def assert_same(project: Clone, trained: Clone) -> None:
    assert project.contents(RUN) == trained.contents(RUN)


def log_of_training(project: Clone) -> str:
    return (project.root / "logs/tiny/train/contrastive-seed0.log").read_text()


def new_jobs(slurm: Cluster, before: int) -> list[list[str]]:
    """State, node, memory, time and name of the jobs since there were `before`, the first one first."""
    return slurm.jobs()[before:]


def test_the_whole_workflow_on_two_nodes_gives_the_bytes_of_one_machine(
    made_project: Clone, slurm: Cluster, tmp_path: Path
) -> None:
    project, before = Clone.of_working_tree(tmp_path), len(slurm.jobs())
    ended(submit(project))
    jobs = new_jobs(slurm, before)
    assert {job[0] for job in jobs} == {"COMPLETED"}
    assert {job[1] for job in jobs} == set(NODES)
    assert project.contents() == made_project.contents()
    project.assert_nothing_to_do()


def test_a_job_killed_for_its_memory_is_run_again_with_more(
    untrained: Clone, trained: Clone, slurm: Cluster
) -> None:
    rules, before = untrained.root / "workflow/rules/runs.smk", len(slurm.jobs())
    text, number = re.subn(r"mem_mb=growing\([^)]*\)", "mem_mb=growing(400)", rules.read_text())
    assert number == 3
    rules.write_text(text)
    ended(submit(untrained, f"{RUN}/metrics.json"))
    # It takes 470 MB on some machines, more than 800 on others; a third attempt is the last.
    jobs = new_jobs(slurm, before)
    assert len(jobs) > 1
    assert [job[2] for job in jobs] == [f"{400 * (attempt + 1)}M" for attempt in range(len(jobs))]
    assert [job[0] for job in jobs][-1] == "COMPLETED"
    assert_same(untrained, trained)


def test_a_job_that_took_too_long_is_run_again_with_more_time_and_goes_on_where_it_was(
    untrained: Clone, trained: Clone, slurm: Cluster
) -> None:
    rules, before = untrained.root / "workflow/rules/runs.smk", len(slurm.jobs())
    text = rules.read_text().replace("runtime=growing(600)", "runtime=growing(1)")
    rules.write_text(text.replace("runtime=growing(60)", "runtime=growing(0)"))
    snakemake = submit(untrained, f"{RUN}/metrics.json")
    os.kill(eventually(lambda: training(untrained)), signal.SIGSTOP)
    ended(snakemake)
    jobs = [(job[0], job[3]) for job in new_jobs(slurm, before)]
    assert jobs == [("TIMEOUT", "1:00"), ("COMPLETED", "2:00")]
    assert "resuming after epoch" in log_of_training(untrained)
    assert_same(untrained, trained)


def test_a_job_that_is_cancelled_is_submitted_again_and_goes_on_where_it_was(
    untrained: Clone, trained: Clone, slurm: Cluster
) -> None:
    before = len(slurm.jobs())
    snakemake = submit(untrained, f"{RUN}/metrics.json")
    os.kill(eventually(lambda: training(untrained)), signal.SIGSTOP)  # or it would be done before it is cancelled
    slurm.ask("scancel", "--state=RUNNING")
    ended(snakemake)
    assert [job[0] for job in new_jobs(slurm, before)] == ["CANCELLED", "COMPLETED"]
    assert "resuming after epoch" in log_of_training(untrained)
    assert_same(untrained, trained)


def test_an_interrupted_snakemake_cancels_its_jobs_and_the_next_goes_on_where_they_were(
    untrained: Clone, trained: Clone, slurm: Cluster
) -> None:
    before = len(slurm.jobs())
    snakemake = submit(untrained, f"{RUN}/metrics.json")
    os.kill(eventually(lambda: training(untrained)), signal.SIGSTOP)
    snakemake.send_signal(signal.SIGINT)
    snakemake.communicate(timeout=SECONDS)
    assert snakemake.returncode != 0
    eventually(lambda: [job[0] for job in new_jobs(slurm, before)] == ["CANCELLED"])
    ended(submit(untrained, f"{RUN}/metrics.json"))
    assert "resuming after epoch" in log_of_training(untrained)
    assert_same(untrained, trained)


def test_a_scheduler_that_is_out_of_reach_for_a_while_ends_no_run(
    untrained: Clone, trained: Clone, slurm: Cluster
) -> None:
    before = len(slurm.jobs())
    snakemake = submit(untrained, f"{RUN}/metrics.json")
    eventually(lambda: training(untrained))
    os.kill(slurm.controller, signal.SIGSTOP)
    try:
        # Longer than a command of Slurm waits for an answer (20 s), so that looks at the jobs fail.
        time.sleep(60)
    finally:
        os.kill(slurm.controller, signal.SIGCONT)
    ended(snakemake)
    # A job that wanted to start a step meanwhile has failed, and was run again.
    assert new_jobs(slurm, before)[-1][0] == "COMPLETED"
    assert_same(untrained, trained)
