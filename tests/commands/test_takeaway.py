"""`relalign export` and `relalign.load`: what is taken away works elsewhere, and is the run."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from huggingface_hub import ModelCard

import relalign
from benchmarks import exported_model
from relalign.cli import main
from relalign.errors import RelalignError
from relalign.evaluation.stage import evaluate
from relalign.layout import Layout
from relalign.retrieval.embeddings import load_embeddings
from relalign.retrieval.relevance_files import make_relevance
from relalign.settings import Params
from relalign.training.history import validation_rsum
from relalign.training.runs import export, train
from tests.raw_runs import raw
from tests.trained_project import make_project, trained_params

REPOSITORY = Path(__file__).parents[2]
METHODS = ("consensus", "cca")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> tuple[Params, Layout]:
    """Two methods, trained and evaluated; `consensus` over two seeds, its image encoder cut."""
    params = trained_params(text=None, training={"epochs": 2})
    layout = make_project(tmp_path_factory.mktemp("a project"), params)
    record = params.model_dump(mode="json", by_alias=True)
    (layout.root / "params.yaml").write_text(yaml.safe_dump(record))
    make_relevance(layout)
    for method, seed in (("consensus", 0), ("consensus", 1), ("cca", 0)):
        train(params, layout, method=method, seed=seed)
        export(params, layout, method=method, seed=seed)
        evaluate(params, layout, method=method, seed=seed)
    return params, layout


@pytest.fixture(scope="module")
def exported(project: tuple[Params, Layout]) -> dict[str, Path]:
    """Both methods as `relalign export` wrote them."""
    root = project[1].root
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for method in METHODS:
            assert main(["export", method]) == 0
    return {method: root / "exported" / method for method in METHODS}


@pytest.fixture
def elsewhere(exported: dict[str, Path], tmp_path: Path) -> Path:
    """A folder that has nothing but a copy of an export."""
    shutil.copytree(exported["consensus"], tmp_path / "exported/consensus")
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command that ends with status 2 says, in one line."""
    assert main(["export", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    return error


@pytest.mark.parametrize("method", METHODS)
def test_an_export_embeds_as_the_pipeline_did(project, exported, method: str) -> None:
    _, layout = project
    seed = json.loads((exported[method] / "config.json").read_text())["seed"]
    model = relalign.load(exported[method])
    images, texts = raw(layout)
    found = load_embeddings(layout.run(method, seed) / "embeddings")
    np.testing.assert_allclose(model.encode_images(images), found.image, atol=1e-5)
    np.testing.assert_allclose(model.encode_texts(texts), found.text, atol=1e-5)


def test_the_lines_of_readme_run_as_printed_in_another_folder_without_the_checkout(
    project, elsewhere: Path
) -> None:
    code = re.search(r"```python\n(import relalign\n.*?)```", (REPOSITORY / "README.md").read_text(), re.S)
    assert code is not None
    images, _ = raw(project[1])
    for image, name in zip(images, ("a.jpg", "b.jpg"), strict=False):
        shutil.copy(image, elsewhere / name)
    checks = "\nassert images.shape[0] == 2 and texts.shape == (1, images.shape[1])\nimport numpy as np\n"
    checks += "assert images.dtype == texts.dtype == np.float32 and abs(np.linalg.norm(images[0]) - 1) < 1e-5\n"
    done = subprocess.run(
        [sys.executable, "-c", code[1] + checks],
        cwd=elsewhere, capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY / "src")},
    )  # fmt: skip
    assert re.fullmatch(r"\[\[ *-?\d\.\d+ +-?\d\.\d+ *\]\]\n", done.stdout)


def test_importing_the_package_does_not_import_torch() -> None:
    code = "import sys, relalign; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_seed_taken_is_the_best_on_validation_and_is_said(project, exported, capsys, monkeypatch) -> None:
    params, layout = project
    rsums = [validation_rsum(layout.run("consensus", seed) / "model") for seed in (0, 1)]
    best = int(rsums[1] > rsums[0])
    assert json.loads((exported["consensus"] / "config.json").read_text())["seed"] == best
    monkeypatch.chdir(layout.root)
    assert main(["export", "consensus"]) == 0
    assert (
        f"seed {best} (the best validation Rsum of the seeds trained; 0: {rsums[0]:.1f}" in capsys.readouterr().out
    )
    other = layout.root / "other"
    assert main(["export", "consensus", "--seed", str(1 - best), "--output", str(other)]) == 0
    assert json.loads((other / "config.json").read_text())["seed"] == 1 - best


def test_nothing_in_an_export_is_pickled_or_names_this_machine(exported) -> None:
    for folder in exported.values():
        for path in folder.rglob("*"):
            assert path.is_dir() or path.suffix in {".json", ".safetensors", ".md", ".csv", ".txt"}, path
            if path.suffix in {".json", ".md"}:
                assert str(folder.parents[1]) not in path.read_text()


def test_the_card_is_valid_and_has_the_runs_numbers_with_intervals(project, exported) -> None:
    params, layout = project
    card = ModelCard.load(exported["consensus"] / "README.md")
    assert card.data.library_name == "relalign"
    seed = json.loads((exported["consensus"] / "config.json").read_text())["seed"]
    metrics = json.loads((layout.run("consensus", seed) / "metrics.json").read_text())
    results = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert {"i2t/recall@1", "t2i/recall@1", "rsum", "rerank/rsum", "i2i/ndcg@10"} <= results.keys()
    assert results == {name: pytest.approx(metrics[name], abs=1e-4) for name in results}
    assert re.search(rf"\| rsum \| {metrics['rsum']:.4g} \| [\d.]+ to [\d.]+ \| 16 \| 8 \|", card.text)
    for source in params.datasets[params.dataset].sources.values():
        assert source.licence in card.text
        assert source.attribution in card.text
    for heading in ("What it is for", "Limits", "Licences and attributions"):
        assert f"## {heading}" in card.text
    assert "trained from `layer.1`" in card.text


def test_a_card_of_a_run_without_evaluation_says_so(project, tmp_path: Path, monkeypatch) -> None:
    _, layout = project
    evaluation = layout.run("cca", 0) / "evaluation"
    evaluation.rename(tmp_path / "kept")
    monkeypatch.chdir(layout.root)
    assert main(["export", "cca", "--output", str(tmp_path / "cca")]) == 0
    (tmp_path / "kept").rename(evaluation)
    card = ModelCard.load(tmp_path / "cca/README.md")
    assert card.data.eval_results is None
    assert "was not evaluated" in card.text


def test_both_towers_go_along_as_onnx_if_asked_for_and_are_timed_beside_torch(
    project, monkeypatch, tmp_path: Path, capsys
) -> None:
    monkeypatch.chdir(project[1].root)
    output = tmp_path / "cca"
    assert main(["export", "cca", "--onnx", "--output", str(output)]) == 0
    assert {path.name for path in output.glob("*.onnx")} == {"image.onnx", "text.onnx"}
    assert "`image.onnx` and `text.onnx`" in (output / "README.md").read_text()
    monkeypatch.setattr(sys, "argv", ["exported_model", str(output)])
    exported_model.main()
    rows = re.findall(r"^(image|text), batches of \d+ +[\d.]+ +[\d.]+ +(\S+)$", capsys.readouterr().out, re.M)
    assert len(rows) == 4
    assert all(float(difference) < 1e-4 for _, difference in rows)


def test_without_the_packages_for_onnx_it_says_what_to_install(project, capsys, monkeypatch) -> None:
    monkeypatch.chdir(project[1].root)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert "pip install 'relalign[onnx]'" in said(capsys, "cca", "--onnx")


def test_an_edited_card_does_not_keep_a_model_from_loading(elsewhere: Path) -> None:
    card = elsewhere / "exported/consensus/README.md"
    card.write_text(card.read_text() + "\nMine.\n")
    relalign.load(elsewhere / "exported/consensus")


def test_bad_requests_are_one_sentence_each(project, capsys, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.chdir(project[1].root)
    assert "'clip' is not an entry of 'method'" in said(capsys, "clip")
    assert "'covlr' is not trained on" in said(capsys, "covlr")
    assert "'covlr' is not trained with seed 7" in said(capsys, "covlr", "--seed", "7")
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    assert "mine exists and is no exported model" in said(capsys, "cca", "--output", str(mine))
    assert (mine / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize(
    ("part", "content", "message"),
    [
        ("config.json", "{}", "damaged config.json"),
        ("config.json", None, "has no config.json"),
        ("model/model.safetensors", "x", r"model.safetensors is missing or truncated. .* export it again"),
        ("model/manifest.json", "{", r"manifest.json is damaged"),
        ("encoders/text/tokenizer.json", None, r"tokenizer.json is missing"),
        ("encoders/image/manifest.json", None, r"encoders/image is incomplete"),
    ],
)
def test_a_damaged_folder_is_one_sentence_that_names_the_file(
    elsewhere: Path, part: str, content: str | None, message: str
) -> None:
    folder = elsewhere / "exported/consensus"
    (folder / part).unlink()
    if content is not None:
        (folder / part).write_text(content)
    with pytest.raises(RelalignError, match=message):
        relalign.load(folder)


def test_a_folder_that_is_not_there_and_a_device_that_is_not_are_one_sentence(elsewhere: Path) -> None:
    with pytest.raises(RelalignError, match="absent does not exist. A folder is wanted that `relalign export`"):
        relalign.load(elsewhere / "absent")
    with pytest.raises(RelalignError, match="device 'abacus' cannot be used here"):
        relalign.load(elsewhere / "exported/consensus", device="abacus")
    assert relalign.load(elsewhere / "exported/consensus", device="cpu").device.type == "cpu"
