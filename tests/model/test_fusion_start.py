from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from relalign.errors import RelalignError
from relalign.features.encoders.pretrained import load_pretrained
from relalign.features.encoders.transformers_part import layers_of
from relalign.methods.model_files import load_model
from relalign.model.fusion import FusionLayer
from relalign.model.fusion_start import language_layers
from relalign.training.runs import train
from tests.features.encoders.checkpoints import save_joint, save_text
from tests.trained_project import make_project, trained_params

KINDS = ["bert", "mpnet", "clip", "siglip"]


def _save(kind: str, folder: Path) -> nn.Module:
    (save_text if kind in ("bert", "mpnet") else save_joint)(kind, folder)
    model = load_pretrained(folder, torch.device("cpu"))
    return getattr(model, "text_model", model)


@pytest.mark.parametrize("kind", KINDS)
def test_a_fusion_layer_computes_what_the_text_encoders_layer_computes(kind: str, tmp_path: Path) -> None:
    tower = _save(kind, tmp_path)
    shape, states = language_layers(tmp_path, 2)
    hidden = torch.randn(3, 5, shape.width)
    everywhere = torch.ones(3, 5, dtype=torch.bool)
    for theirs, state in zip(layers_of(tower)[-2:], states, strict=True):
        ours = FusionLayer(shape, dropout=0.1).eval()
        ours.load_state_dict(state)
        with torch.no_grad():
            expected = theirs(hidden, None)
        expected = expected[0] if isinstance(expected, tuple) else expected
        torch.testing.assert_close(ours(hidden, everywhere), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["bert", "clip"])
def test_the_first_token_alone_and_its_blocks_are_those_of_the_whole_layer(kind: str, tmp_path: Path) -> None:
    _save(kind, tmp_path)
    shape, (state,) = language_layers(tmp_path, 1)
    layer = FusionLayer(shape, dropout=0.0).eval()
    layer.load_state_dict(state)
    hidden = torch.randn(2, 6, shape.width)
    mask = torch.tensor([[True] * 6, [True] * 4 + [False] * 2])
    torch.testing.assert_close(layer.first_token(hidden, mask), layer(hidden, mask)[:, 0])
    rows = layer.blocks(hidden, mask, 2).text_text.sum(-1)
    torch.testing.assert_close(rows, torch.ones(2, 2))


def test_more_fusion_layers_than_the_encoder_has_are_refused_with_both_numbers(tmp_path: Path) -> None:
    _save("bert", tmp_path)
    with pytest.raises(RelalignError, match=r"fusion_layers is 4, but the text encoder in .* has 3 layers"):
        language_layers(tmp_path, 4)


@pytest.mark.parametrize("cut", [None, "layer.2"])
@pytest.mark.parametrize("layers", [1, 2])
def test_a_model_trains_from_the_text_encoders_layers_and_is_loaded_again(
    cut: str | None, layers: int, tmp_path: Path
) -> None:
    start = {"fusion_start": "text_encoder", "fusion_layers": layers}
    params = trained_params(image=None, text=cut, backbone=start, training={"encoder_learning_rate": 1e-6})
    layout = make_project(tmp_path, params)
    train(params, layout, method="iais", seed=0)
    folder = layout.run("iais", 0) / "model"
    shape, states = language_layers(layout.encoder("tiny-text"), layers)
    trained = load_file(folder / "model.safetensors")
    for index, state in enumerate(states):
        for name, value in state.items():
            found = trained[f"backbone.fusion.{index}.{name}"]
            torch.testing.assert_close(found, value, atol=1e-3, rtol=0)
            assert not torch.equal(found, value), f"{name} is not trained"
    assert load_model(folder).fusion_shape == shape
