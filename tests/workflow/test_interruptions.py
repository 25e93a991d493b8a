"""Nothing that has finished is lost: not by kill -9 at any moment, not by a method that fails."""

import random
import re

import pytest

from tests.workflow.clone import SEEDS, Clone, executed_by_snakemake

pytestmark = pytest.mark.workflow


def forget_results(project: Clone) -> None:
    """Back to a state before the first training; DVC may not take the results from its run cache either."""
    project.run("rm", "-rf", "results", ".snakemake/dvc-seen.json", ".dvc/cache/runs")
    project.git("rm", "--quiet", "--cached", "dvc.lock")
    project.run("mv", "dvc.lock", "dvc.lock.whole")


def test_killed_snakemake_goes_on_where_it_was(project: Clone) -> None:
    before = project.contents("results")
    forget_results(project)
    moment = random.uniform(3, 20)
    log = project.kill_during("snakemake", "--cores", "all", after=moment)
    finished = [int(done) for done in re.findall(r"^(\d+) of \d+ steps", log, re.M)]
    total = [int(steps) for steps in re.findall(r"^total +(\d+)$", log, re.M)]
    again = project.snakemake()
    if finished and total:
        remaining = int(re.findall(r"of (\d+) steps", again)[-1])
        assert remaining <= total[0] - finished[-1], f"killed after {moment} s"
    assert project.contents("results") == before, f"killed after {moment} s"
    project.assert_nothing_to_do()


def test_killed_dvc_leaves_what_snakemake_can_finish(project: Clone) -> None:
    before = project.contents("results")
    forget_results(project)
    moment = random.uniform(3, 20)
    project.kill_during("dvc", "repro", after=moment)
    (project.root / ".dvc/tmp/rwlock").unlink(missing_ok=True)  # as docs/pipeline.md says
    project.snakemake()
    assert project.contents("results") == before, f"killed after {moment} s"
    project.assert_nothing_to_do()


def test_failing_method_stops_no_other(project: Clone) -> None:
    source = project.root / "src/relalign/methods/contrastive.py"
    working = source.read_text()
    broken = working.replace(
        "    def loss(", "    def loss(self, *_, **__):\n        raise MemoryError('planted')\n\n    def _("
    )
    assert broken != working
    source.write_text(broken)
    assert "planted" in project.snakemake(succeeds=False)
    for seed in SEEDS:
        status = project.dvc("status", f"evaluate@tiny-cca-{seed}")
        assert status.strip() == "Data and pipelines are up to date."
    source.write_text(working)
    project.snakemake()
    project.assert_nothing_to_do()


def test_second_snakemake_beside_a_running_one_is_refused(project: Clone) -> None:
    holder = "import fcntl, sys, time; f = open('.snakemake/running', 'w'); fcntl.flock(f, fcntl.LOCK_EX)"
    holder += "; open('.snakemake/locks/0.output.lock', 'w').write('results/tiny/report.html'); time.sleep(60)"
    (project.root / ".snakemake/locks").mkdir(exist_ok=True)
    project.edit_params(report={"examples": 1})
    script = f'python -c "{holder}" & held=$!; sleep 1; snakemake --cores all; code=$?; kill $held; exit $code'
    assert "cannot be locked" in project.run("bash", "-c", script, succeeds=False)
    assert executed_by_snakemake(project.snakemake())
