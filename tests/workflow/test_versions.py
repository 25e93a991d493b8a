"""Snakemake and DVC agree: after a first run, after edits, after going back, and through a remote."""

from pathlib import Path

import pytest

from tests.workflow.clone import METHODS, SEEDS, Clone, executed_by_dvc, executed_by_snakemake

pytestmark = pytest.mark.workflow

RUN_OUTPUTS = ("model", "embeddings", "evaluation", "metrics.json", "summary.json")
FOLLOWS = {
    f"results/tiny/{name}"
    for name in ("comparison.csv", "training.csv", "recall.csv", "report.html", "comparison.svg", "examples.svg")
}
FOLLOWS |= {"results/tiny/params.json"}


def outputs_of(method: str) -> set[str]:
    folders = [f"results/tiny/{method}/seed{seed}/{name}" for seed in SEEDS for name in RUN_OUTPUTS]
    receipts = [f"results/tiny/.receipts/{method}-seed{seed}.json" for seed in SEEDS]
    return {*folders, *receipts, f"results/tiny/{method}/method.json"}


def stages_of(method: str) -> set[str]:
    return {f"{stage}@tiny-{method}-{seed}" for stage in ("train", "export", "evaluate") for seed in SEEDS}


def test_first_run_makes_everything_and_leaves_nothing_to_do(made_project: Clone) -> None:
    for output in FOLLOWS.union(*map(outputs_of, METHODS)):
        assert (made_project.root / output).exists(), output
    made_project.assert_nothing_to_do()
    assert made_project.git("status", "--porcelain") == ""


def test_knob_of_one_method_reruns_that_method_only_by_snakemake(project: Clone) -> None:
    before = project.contents()
    project.edit_params(method={"contrastive": {"algorithm": "contrastive", "temperature": 0.2}})
    executed = executed_by_snakemake(project.snakemake())
    assert executed == outputs_of("contrastive") | FOLLOWS
    _assert_only_changed(before, project.contents(), "contrastive")
    project.assert_nothing_to_do()


def test_knob_of_one_method_reruns_that_method_only_by_dvc(project: Clone) -> None:
    before = project.contents()
    project.edit_params(method={"cca": {"algorithm": "cca", "regularisation": 0.5}})
    executed = executed_by_dvc(project.dvc("repro"))
    asked = {f"method@tiny-{method}" for method in METHODS}  # of which one came to something else
    assert executed == stages_of("cca") | asked | {"compare@tiny", "report@tiny", "params@tiny"}
    _assert_only_changed(before, project.contents(), "cca")
    project.assert_nothing_to_do()


def _assert_only_changed(before: dict[str, str], after: dict[str, str], method: str) -> None:
    assert before.keys() == after.keys()
    changed = {path for path in before if before[path] != after[path]}
    assert all(f"results/tiny/{method}/seed{seed}/model/model.safetensors" in changed for seed in SEEDS)
    for path in changed:
        assert path.startswith((f"results/tiny/{method}/", f"results/tiny/.receipts/{method}-")) or path in FOLLOWS


def test_writing_params_differently_changes_nothing(project: Clone) -> None:
    project.edit_params(training={"learning_rate": 1.0e-3, "checkpoint_seconds": 0})
    executed = executed_by_snakemake(project.snakemake())
    page = {f"results/tiny/{name}" for name in ("report.html", "comparison.svg", "examples.svg")}
    assert executed <= {"results/tiny/params.json", *page}
    project.assert_nothing_to_do()


def test_older_commit_and_dvc_checkout_restore_byte_for_byte(project: Clone) -> None:
    before = project.contents()
    project.edit_params(method={"contrastive": {"algorithm": "contrastive", "temperature": 0.2}})
    project.snakemake()
    project.commit("another temperature")
    after = project.contents()
    assert before != after
    for revision, wanted in (("HEAD~1", before), ("main", after)):
        project.git("checkout", "--quiet", revision)
        project.dvc("checkout")
        assert project.contents() == wanted
        project.assert_nothing_to_do()


def test_edit_after_dvc_checkout_is_noticed_by_snakemake(project: Clone) -> None:
    project.dvc("repro", "--force", "--single-item", "train@tiny-cca-0")
    project.edit_params(method={"cca": {"algorithm": "cca", "regularisation": 0.5}})
    executed = executed_by_snakemake(project.snakemake())
    assert executed == outputs_of("cca") | FOLLOWS
    project.assert_nothing_to_do()


def test_remote_restores_a_fresh_clone_without_computing(project: Clone, tmp_path: Path) -> None:
    project.dvc("remote", "add", "--default", "folder", str(tmp_path / "remote folder"))
    project.dvc("push")
    project.commit("remote")
    fresh = project.clone(tmp_path / "prüfung drei" / "fresh")
    assert not (fresh.root / "results").exists()
    fresh.dvc("pull")
    assert fresh.contents() == project.contents()
    fresh.assert_nothing_to_do()
    fresh.edit_params(method={"cca": {"algorithm": "cca", "regularisation": 0.5}})
    assert executed_by_snakemake(fresh.snakemake("--dry-run")) == outputs_of("cca") | FOLLOWS


def test_dropped_seed_leaves_the_comparison_and_comes_back_from_the_cache(project: Clone) -> None:
    before = project.contents("results")
    project.edit_params(seeds=[0])
    project.snakemake()
    assert sorted(file.name for file in (project.root / "results/tiny/.receipts").iterdir()) == [
        f"{method}-seed0.json" for method in METHODS
    ]
    project.assert_nothing_to_do()
    project.edit_params(seeds=list(SEEDS))
    executed = executed_by_dvc(project.dvc("repro"))
    assert executed <= {"params@tiny", *(f"method@tiny-{method}" for method in METHODS)}
    assert project.contents("results") == before
    project.assert_nothing_to_do()


def test_lost_records_of_snakemake_cost_nothing(project: Clone) -> None:
    project.run("rm", "-rf", ".snakemake")
    project.assert_nothing_to_do()
