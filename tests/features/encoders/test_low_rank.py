"""LoRA begins at the pretrained encoder, moves only linear maps, and leaves ordinary weights."""

import copy

import pytest
import torch
from torch import nn

from relalign.errors import RelalignError
from relalign.features.encoders.low_rank import merge_low_rank, with_low_rank
from relalign.features.encoders.trained import TrainedEncoder, rebuild_trained
from relalign.features.table import features_of
from relalign.training.split_data import trained_encoders
from tests.trained_project import make_project, trained_params

RANK = 2


def _lite0() -> TrainedEncoder:
    described = {"kind": "efficientnet_lite0", "modality": "image", "train_from": "blocks.15", "image_size": 224}
    return rebuild_trained({"encoder": described})


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TrainedEncoder]:
    """Upper layers of a tiny ViT, of a tiny BERT, and of EfficientNet-Lite0 with weights drawn at random."""
    params = trained_params()
    found = trained_encoders(params, make_project(tmp_path_factory.mktemp("low-rank"), params))
    torch.manual_seed(0)
    return {"vit": found["image"], "bert": found["text"], "lite0": _lite0()}


def _copy(encoders: dict[str, TrainedEncoder], name: str) -> TrainedEncoder:
    return copy.deepcopy(encoders[name]).eval()


def _outputs(encoder: TrainedEncoder) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    described = encoder.description["encoder"]
    if described["kind"] == "efficientnet_lite0":
        width, tokens = encoder.part.blocks[0].expand.in_channels, 49
    else:
        width, tokens = encoder.part.token_width, 5 if described["modality"] == "text" else 17
    values = torch.rand(3, tokens, width, generator=generator)
    vectors = torch.rand(3, 7 * width, generator=generator)
    features = features_of(values, torch.full((3,), tokens), vectors[:, :width], vectors)
    read = encoder(features)
    return [read.table.tokens, read.pooled, read.summary]


def _learnt(encoder: TrainedEncoder) -> list[nn.Parameter]:
    return [parameter for parameter in encoder.parameters() if parameter.requires_grad]


def _shaken(encoder: TrainedEncoder) -> TrainedEncoder:
    """As if it had been trained."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in _learnt(encoder):
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return encoder


@pytest.mark.parametrize("name", ["vit", "bert", "lite0"])
def test_it_starts_at_the_pretrained_activations_to_the_byte(encoders, name) -> None:
    plain, low = _copy(encoders, name), _copy(encoders, name)
    with_low_rank(low, RANK)
    assert all(torch.equal(*pair) for pair in zip(_outputs(low), _outputs(plain), strict=True))


@pytest.mark.parametrize("name", ["vit", "bert", "lite0"])
def test_merged_it_has_the_names_of_before_and_gives_what_it_gave(encoders, name) -> None:
    plain, low = _copy(encoders, name), _copy(encoders, name)
    with_low_rank(low, RANK)
    given = _outputs(_shaken(low))
    assert not torch.equal(given[2], _outputs(plain)[2]), "the change counts"
    merge_low_rank(low)
    for now, then in zip(_outputs(low), given, strict=True):
        torch.testing.assert_close(now, then, atol=1e-6, rtol=0)
    merged, before = low.state_dict(), plain.state_dict()
    assert merged.keys() == before.keys()
    for key, weight in merged.items():
        change = (weight - before[key]).flatten(1) if weight.ndim > 1 else weight - before[key]
        if not torch.count_nonzero(change):
            continue
        assert weight.ndim in (2, 4), f"{key} is no linear map"
        assert torch.linalg.matrix_rank(change, rtol=1e-4) <= RANK


def test_a_map_is_its_weight_plus_the_product_of_both_factors(encoders) -> None:
    low = _copy(encoders, "bert")
    with_low_rank(low, RANK)
    _shaken(low)
    query = low.trained_layers()[0].attention.self.query
    own = query.parametrizations.weight[0]
    inputs = torch.rand(4, query.in_features)
    changed = inputs @ own.down.T @ own.up.T
    expected = inputs @ query.parametrizations.weight.original.T + changed + query.bias
    torch.testing.assert_close(query(inputs), expected)


@pytest.mark.parametrize("name", ["vit", "bert", "lite0"])
def test_only_the_factors_of_linear_maps_learn(encoders, name) -> None:
    low = _copy(encoders, name)
    with_low_rank(low, RANK)
    learns = {key: parameter.requires_grad for key, parameter in low.named_parameters()}
    assert {key for key, learns_it in learns.items() if learns_it} == {
        key for key in learns if key.endswith((".weight.0.down", ".weight.0.up"))
    }
    assert sum(learns.values()) > 0
    sum(output.sum() for output in _outputs(_shaken(low))).backward()
    assert all(parameter.grad is not None for parameter in _learnt(low))


def test_a_rank_that_a_map_does_not_have_is_refused_by_name(encoders) -> None:
    low = _copy(encoders, "bert")
    with pytest.raises(RelalignError, match=r"training.lora_rank is 999.*of the text encoder.*has rank \d+"):
        with_low_rank(low, 999)
    assert len(_learnt(low)) == len(list(low.parameters())), "it is as it was"
