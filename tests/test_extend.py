"""docs/extend.md keeps its word: each block is one file, found by its name, from training to the report."""

import json
import re
from pathlib import Path

import pytest
import yaml

import relalign.evaluation.added
import relalign.methods
from relalign.errors import RelalignError
from relalign.evaluation.stage import evaluate
from relalign.layout import Layout
from relalign.methods.model_files import load_model
from relalign.orchestration.method_identity import method_identity
from relalign.retrieval.relevance_files import make_relevance
from relalign.settings import Params
from relalign.training.runs import export, train
from tests.tiny_project import make_features, tiny_params

DOCS = Path(__file__).parents[1] / "docs/extend.md"
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", DOCS.read_text(), re.DOTALL)
METHOD, METRIC = (content for language, content in BLOCKS if language == "python")
ENTRY = next(yaml.safe_load(content) for language, content in BLOCKS if language == "yaml")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Params, Layout]:
    """Both files in place, as one would write them, but in a folder of the test's own."""
    for package, name, content in (
        (relalign.methods, "mean_pull", METHOD),
        (relalign.evaluation.added, "mutual", METRIC),
    ):
        folder = tmp_path / package.__name__
        folder.mkdir()
        (folder / f"{name}.py").write_text(content)
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
        monkeypatch.delitem(__import__("sys").modules, f"{package.__name__}.{name}", raising=False)
    params = tiny_params(**ENTRY, evaluate={"bootstrap_samples": 20, "ndcg_at": [5]})
    return params, make_features(tmp_path / "project", params)


def test_a_method_and_a_metric_are_one_file_each(project: tuple[Params, Layout]) -> None:
    params, layout = project
    make_relevance(layout)
    train(params, layout, method="mine", seed=0)
    export(params, layout, method="mine", seed=0)
    evaluate(params, layout, method="mine", seed=0)
    metrics = json.loads((layout.run("mine", 0) / "metrics.json").read_text())
    assert 0 <= metrics["mutual/first"] <= metrics["t2i/recall@1"]
    assert (layout.run("mine", 0) / "model/history.csv").read_text().splitlines()[0].count("loss/pull") == 1
    assert load_model(layout.run("mine", 0) / "model") is not None


def test_its_settings_are_checked_recorded_and_part_of_its_identity(project: tuple[Params, Layout]) -> None:
    params, _ = project
    identity = method_identity(params, "mine")
    assert identity["settings"] == {"algorithm": "mean_pull", "temperature": 0.05, "pull_weight": 0.5}
    assert params.model_dump(mode="json")["method"]["mine"] == identity["settings"]
    assert identity["code"] != method_identity(params, "contrastive")["code"]
    with pytest.raises(RelalignError, match="pull_wieght"):
        tiny_params(method={"mine": {"algorithm": "mean_pull", "pull_wieght": 1}})
    with pytest.raises(RelalignError, match="no_such"):
        tiny_params(method={"mine": {"algorithm": "no_such"}})
