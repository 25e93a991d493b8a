"""The benchmarks that look at trained models still fit the code: what the findings cite can be measured again."""

import json
import sys
from pathlib import Path

import pytest
import yaml

from benchmarks import attention, entropy_control, meta_step
from relalign.study.record import SearchRecord, Trial, kept_path
from relalign.training.runs import train
from tests.study.results_on_disk import small_study
from tests.tiny_project import make_features, tiny_params


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A trained model in the working directory."""
    params = tiny_params(training={"epochs": 1})
    layout = make_features(tmp_path, params)
    train(params, layout, method="covlr", seed=0)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params.model_dump(mode="json", by_alias=True)))
    monkeypatch.chdir(tmp_path)
    return layout.run("covlr", 0) / "model"


def test_the_distance_of_an_inner_step_is_measured_beside_an_update(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shares = []
    for rate in ("0.001", "0.004"):
        arguments = ["--model", str(model), "--steps", "2", "--learning-rate", rate]
        monkeypatch.setattr(sys, "argv", ["meta_step", *arguments])
        meta_step.main()
        shares.append(float(capsys.readouterr().out.split("share: ")[1].split()[0]))
    assert shares[0] > 2 * shares[1] > 0  # an update goes farther at a higher rate


def test_the_flatness_of_attention_is_measured(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["attention", str(model)])
    attention.main()
    flatness = [float(cell) for cell in capsys.readouterr().out.strip().split("\n")[1].split()[1:]]
    assert all(0 < value < 1.001 for value in flatness)


def test_the_weight_of_the_entropy_control_is_looked_for_beside_what_it_is_to_match(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study = small_study(training={"epochs": 1})
    Path("study.yaml").write_text(yaml.safe_dump(study.model_dump(mode="json", exclude_none=True)))
    record = SearchRecord(settings="", methods={"iais": [Trial(change={"task_weight": 0.3}, score=1.0)]})
    path = kept_path(Path(), tiny_params().dataset)
    path.parent.mkdir(parents=True)
    path.write_text(record.model_dump_json())
    monkeypatch.setattr(sys, "argv", ["entropy_control", "--seeds", "0", "--weights", "1e6"])
    entropy_control.main()
    head, *rows = [line.split() for line in capsys.readouterr().out.strip().splitlines()]
    found = {name: [float(cell) for cell in cells] for name, *cells in rows}
    assert head[:2] == ["relative", "entropy"]
    assert list(found) == ["iais-off", "iais", "entropy-1e+06"]
    assert all(0 < value < 1.001 for row in found.values() for value in row)
    models = Path("results").glob("*/study/search/*/seed0/model/config.json")
    settings = {path.parts[-4]: json.loads(path.read_text())["settings"] for path in models}
    assert {
        name: (one["alignment"], one["lambda_iais"], one["task_weight"]) for name, one in settings.items()
    } == {
        "iais-off": ("singular", 0.0, 0.3),
        "iais": ("singular", tiny_params().method["iais"].lambda_iais, 0.3),
        "entropy-1e+06": ("entropy", 1e6, 0.3),
    }
