"""What params.yaml says never reaches a shell: names that are commands are refused, and none of them runs."""

from pathlib import Path

import pytest
import yaml

from tests.workflow.clone import Clone


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A project whose dataset, encoder, method and seed are shell commands that would leave a file behind."""
    clone = Clone.of_working_tree(tmp_path_factory.mktemp("hostile") / "project")
    path = clone.root / "params.yaml"
    params = yaml.safe_load(path.read_text())
    names = {section: f"$(touch ran-{section})" for section in ("datasets", "encoder", "method", "seeds")}
    for section, entry in (("datasets", "tiny"), ("encoder", "tiny-vit"), ("method", "cca")):
        params[section][names[section]] = params[section][entry]
    params["dataset"] = names["datasets"]
    params["encoders"]["image"] = names["encoder"]
    params["methods"] = [names["method"], "contrastive", {"$(touch ran-key)": "; touch ran-value"}]
    params["seeds"] = [names["seeds"]]
    path.write_text(yaml.safe_dump(params))
    return clone


@pytest.mark.workflow
@pytest.mark.parametrize("command", ["snakemake --cores 1 --keep-going", "dvc repro --keep-going"])
def test_a_name_that_is_a_shell_command_is_refused_and_never_run(hostile: Clone, command: str) -> None:
    said = hostile.run(*command.split(), succeeds=False)
    assert "String should match pattern" in said or "failed to parse" in said
    assert ran(hostile.root) == []


@pytest.mark.workflow
def test_dvc_quotes_each_name_for_the_shell(hostile: Clone) -> None:
    params = yaml.safe_load((hostile.root / "params.yaml").read_text())
    params["methods"] = params["methods"][:2]  # DVC itself refuses the third
    (hostile.root / "params.yaml").write_text(yaml.safe_dump(params))
    said = hostile.dvc("repro", "--keep-going", succeeds=False)
    assert "relalign stage method --dataset '$(touch ran-datasets)' --method '$(touch ran-method)'" in said
    assert "relalign stage download-encoder --encoder '$(touch ran-encoder)'" in said
    assert "params.yaml: dataset: String should match pattern" in said
    assert ran(hostile.root) == []


def ran(root: Path) -> list[str]:
    return sorted(path.name for path in root.rglob("ran-*"))
