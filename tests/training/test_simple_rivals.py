"""WiSE-FT and LoRA as switches of training: what they leave, and that a kill changes nothing of it."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from relalign.errors import RelalignError
from relalign.layout import Layout
from relalign.methods.model_files import load_model
from relalign.settings import Params
from relalign.training.relations import Relations
from relalign.training.runs import starting_method, train
from relalign.training.split_data import load_split, trained_encoders
from relalign.training.validation import validation_metrics
from tests.trained_project import make_project, trained_params
from tests.training.interrupted import stop_in_epoch

CPU = torch.device("cpu")
BLENDED = ("backbone.encoders.", "backbone.image.", "backbone.text.")


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    return make_project(tmp_path_factory.mktemp("rivals"), trained_params())


def _trained(layout: Layout, params: Params, name: str, method: str = "contrastive") -> dict[str, torch.Tensor]:
    """The weights that a training leaves, whose results lie under `name`."""
    params = params.model_copy(update={"method": {name: params.method[method]}})
    train(params, layout, method=name, seed=0)
    return load_file(layout.run(name, 0) / "model/model.safetensors")


def _start(layout: Layout, params: Params) -> dict[str, torch.Tensor]:
    data = load_split(params, layout, "train", device=CPU, seed=0)
    return starting_method(params, layout, params.method["contrastive"], data, seed=0)[0].state_dict()


@pytest.mark.parametrize("frozen", [False, True])
def test_what_is_left_lies_between_what_was_trained_and_the_start(tmp_path: Path, frozen: bool) -> None:
    cuts = {"image": None, "text": None} if frozen else {}
    plain, share = (
        trained_params(**cuts, training={"epochs": 1} | more) for more in ({}, {"pretrained_share": 0.25})
    )
    layout = make_project(tmp_path, plain)
    start, whole, mixed = (
        _start(layout, plain),
        _trained(layout, plain, "plain"),
        _trained(layout, share, "share"),
    )
    moved = 0
    for name, weight in whole.items():
        blended = name.startswith(BLENDED)
        expected = 0.75 * weight + 0.25 * start[name] if blended else weight
        torch.testing.assert_close(mixed[name], expected, msg=name, **({} if blended else {"atol": 0, "rtol": 0}))
        moved += blended and not torch.equal(weight, start[name])
    assert moved > 4
    assert any(name.startswith("backbone.encoders.") for name in whole) != frozen


def test_the_history_measures_what_is_left(layout: Layout) -> None:
    params = trained_params(training={"epochs": 1, "pretrained_share": 0.5})
    _trained(layout, params, "measured")
    folder = layout.run("measured", 0) / "model"
    model, data = load_model(folder), load_split(params, layout, "val", device=CPU)
    found = validation_metrics(model, data, Relations.of(layout, "val", data))
    history = pd.read_csv(folder / "history.csv").iloc[-1]
    assert {name: history[name] for name in found} == pytest.approx(found)
    assert {"val/rsum", "val/isd/singular", "val/encoder/t2t/ndcg@10"} <= found.keys()


@pytest.mark.parametrize("method", ["contrastive", "covlr", "rebalanced", "iais", "consensus"])
def test_low_rank_changes_are_all_that_a_method_leaves_of_an_encoder(layout: Layout, method: str) -> None:
    more = {"encode_rows": 5} if method == "contrastive" else {}
    params = trained_params(training={"epochs": 2, "lora_rank": 2, "encoder_learning_rate": 0.01} | more)
    if method == "covlr":
        second = params.method["covlr"].model_copy(update={"meta_order": "second"})
        params = params.model_copy(update={"method": {"covlr": second}})
    weights = _trained(layout, params, f"low-{method}", method)
    for side, encoder in trained_encoders(params, layout).items():
        changed = 0
        for name, before in encoder.state_dict().items():
            change = weights[f"backbone.encoders.{side}.{name}"] - before
            if before.ndim != 2 or "layer" not in name:
                assert not change.count_nonzero(), f"{side} {name} is frozen"
                continue
            changed += bool(change.count_nonzero())
            assert torch.linalg.matrix_rank(change, rtol=1e-3) <= 2
        assert changed > 5, f"{method} leaves the {side} encoder as it was"
    load_model(layout.run(f"low-{method}", 0) / "model")


@pytest.mark.parametrize("switch", [{"lora_rank": 2}, {"pretrained_share": 0.3}])
def test_a_resumed_training_ends_in_the_same_bytes(
    tmp_path: Path, switch: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    params = trained_params(training={"epochs": 3, **switch})
    straight, stopped = (make_project(tmp_path / name, params) for name in ("straight", "stopped"))
    train(params, straight, method="contrastive", seed=0)
    epochs = stop_in_epoch(monkeypatch, 3)
    with pytest.raises(KeyboardInterrupt):
        train(params, stopped, method="contrastive", seed=0)
    train(params, stopped, method="contrastive", seed=0)
    assert len(epochs) == 3 + 1, "it began anew"
    for name in ("model.safetensors", "history.csv", "config.json"):
        first, second = (layout.run("contrastive", 0) / "model" / name for layout in (straight, stopped))
        assert first.read_bytes() == second.read_bytes()


def test_switches_that_cannot_have_an_effect_are_refused_with_the_way_out(tmp_path: Path) -> None:
    frozen = {"image": None, "text": None}
    with pytest.raises(RelalignError, match=r"training.lora_rank: no encoder trains.*encoder.<name>.train_from"):
        trained_params(**frozen, training={"lora_rank": 2})
    with pytest.raises(RelalignError, match=r"training: pretrained_share: .*leave lora_rank 0"):
        trained_params(training={"lora_rank": 2, "pretrained_share": 0.5})
    with pytest.raises(RelalignError, match=r"pretrained_share.*less than 1"):
        trained_params(training={"pretrained_share": 1.0})
    params = trained_params(**frozen)
    layout = make_project(tmp_path, params)
    budget = params.training.model_copy(update={"lora_rank": 2})  # as a study changes it
    with pytest.raises(RelalignError, match=r"training.lora_rank: no encoder trains"):
        train(params.model_copy(update={"training": budget}), layout, method="contrastive", seed=0)
