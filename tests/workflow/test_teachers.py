"""Trained teachers in the pipeline: Snakemake and DVC make them once, and only what asks for them follows."""

import json

import pytest

from tests.workflow.clone import Clone, executed_by_dvc, executed_by_snakemake

ENCODERS = ("tiny-vit", "tiny-bert")
TAUGHT = {
    "teacher": {"encoders": [*ENCODERS], "epochs": 2, "batch_size": 8},
    "method": {"taught": {"algorithm": "rebalanced", "teacher": "trained", "strong": "auto"}},
    "methods": ["cca", "contrastive", "taught"],
}


@pytest.mark.workflow
def test_methods_that_ask_for_teachers_get_them_and_a_changed_teacher_trains_only_those_anew(
    project: Clone,
) -> None:
    project.edit_params(**TAUGHT)
    made = executed_by_snakemake(project.snakemake())
    teachers = {f"data/teachers/tiny/{name}" for name in ENCODERS}
    assert teachers <= made, "each is made once, for both seeds"
    assert {"results/tiny/taught/seed0/model", "results/tiny/taught/seed1/model"} <= made
    assert not {name for name in made if "/cca/seed" in name or "/contrastive/seed" in name}
    project.assert_nothing_to_do()
    chosen = json.loads((project.root / "results/tiny/taught/seed1/model/manifest.json").read_text())
    assert chosen["parameters"]["chosen"]["strong"] in ("image", "text")
    assert {"image_teacher", "text_teacher"} <= chosen["inputs"].keys()

    before = project.contents()
    project.edit_params(teacher={"epochs": 3})
    ran = executed_by_dvc(project.dvc("repro"))
    assert {f"teacher@tiny-{name}" for name in ENCODERS} <= ran
    assert {name for name in ran if name.startswith(("train@", "export@", "evaluate@"))} == {
        f"{stage}@tiny-taught-{seed}" for stage in ("train", "export", "evaluate") for seed in (0, 1)
    }
    project.assert_nothing_to_do()
    project.edit_params(teacher={"epochs": 2})
    project.snakemake()
    assert {name: sha for name, sha in project.contents().items() if name.endswith((".npy", ".safetensors"))} == {
        name: sha for name, sha in before.items() if name.endswith((".npy", ".safetensors"))
    }


@pytest.mark.workflow
def test_a_method_without_its_teacher_stops_both_tools_before_any_job(project: Clone) -> None:
    project.edit_params(**TAUGHT | {"teacher": {"encoders": ["tiny-vit"]}})
    for output in (project.snakemake(succeeds=False), project.dvc("repro", succeeds=False)):
        assert "method.taught.teacher: 'trained', but 'tiny-bert' is not in teacher.encoders" in output
