"""The benchmarks that look at trained models still fit the code: what the findings cite can be measured again."""

import sys
from pathlib import Path

import pytest
import yaml

from benchmarks import attention, meta_step
from relalign.training.runs import train
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
