from copy import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from relalign.errors import RelalignError
from relalign.features.encoders.efficientnet_lite import (
    WEIGHTS,
    EfficientNetLite0Encoder,
    SameConv,
    convert_weights,
)
from tests.twins.efficientnet_lite import feature_map, random_state, same_conv

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> EfficientNetLite0Encoder:
    folder = tmp_path_factory.mktemp("lite0")
    torch.save(random_state(seed=0), folder / "published.pth")
    convert_weights(folder / "published.pth", folder / WEIGHTS)
    return EfficientNetLite0Encoder(folder, CPU)


def test_regions_equal_the_unfolded_network_with_padding_by_definition(encoder: EfficientNetLite0Encoder) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    encoded = encoder.encode(pixels)
    expected = feature_map(torch.from_numpy(pixels).permute(0, 3, 1, 2).float(), random_state(seed=0))
    assert encoded.tokens.shape == (2, 49, 1280)
    assert encoded.tokens.std(1).mean() > 0.01, "the random network must not be dead, or equality says nothing"
    torch.testing.assert_close(encoded.tokens, expected.flatten(2).transpose(1, 2), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(encoded.pooled, encoded.tokens.mean(1))
    highest = encoded.tokens.amax(1)
    torch.testing.assert_close(encoded.summary, torch.cat([encoded.pooled, highest], dim=1).sqrt())


def test_a_larger_picture_is_described_in_as_many_regions_by_all_of_its_map(
    encoder: EfficientNetLite0Encoder,
) -> None:
    larger = copy(encoder)
    larger.image_size = 320
    pixels = np.stack([larger.prepare(Image.effect_noise((300, 200), 90).convert("RGB"))])
    assert pixels.shape == (1, 320, 320, 3)
    encoded = larger.encode(pixels)
    with torch.inference_mode():
        grid = larger.part.last_map(torch.from_numpy(pixels).permute(0, 3, 1, 2))
    assert grid.shape == (1, 1280, 10, 10)
    assert encoded.tokens.shape == (1, 49, 1280)
    torch.testing.assert_close(encoded.tokens[0, 0], grid[0, :, :2, :2].mean((1, 2)))
    torch.testing.assert_close(encoded.tokens[0, -1], grid[0, :, -2:, -2:].mean((1, 2)))
    torch.testing.assert_close(encoded.pooled[0], grid[0].mean((1, 2)))
    torch.testing.assert_close(encoded.summary[0, 1280:].square(), grid[0].amax((1, 2)))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("side", [7, 8])
def test_same_padding_equals_its_definition_on_odd_and_even_sides(kernel: int, stride: int, side: int) -> None:
    torch.manual_seed(0)
    convolution = SameConv(2, 3, kernel, stride=stride)
    image = torch.randn(1, 2, side, side)
    expected = same_conv(image, convolution.weight, stride) + convolution.bias[:, None, None]
    torch.testing.assert_close(convolution(image), expected)


def test_kernel_three_with_stride_two_is_centred_on_odd_pixels() -> None:
    convolution = SameConv(1, 1, 3, stride=2)
    with torch.no_grad():
        convolution.weight.zero_()[0, 0, 1, 1] = 1
        convolution.bias.zero_()
        seen = convolution(torch.arange(16.0).reshape(1, 1, 4, 4))
    assert seen.flatten().tolist() == [5, 7, 13, 15]


def test_an_image_is_squeezed_whole_and_not_cropped(encoder: EfficientNetLite0Encoder) -> None:
    wide = np.zeros((100, 400, 3), dtype=np.uint8)
    wide[:, :100] = 255
    prepared = encoder.prepare(Image.fromarray(wide))
    assert prepared.shape == (224, 224, 3)
    assert prepared[:, :50].min() == 255
    assert prepared[:, 62:].max() == 0


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path) -> None:
    torch.save({"_conv_stem.weight": Path("not a tensor")}, tmp_path / "bad.pth")
    with pytest.raises(RelalignError, match=r"bad\.pth does not hold"):
        convert_weights(tmp_path / "bad.pth", tmp_path / WEIGHTS)
    assert not (tmp_path / WEIGHTS).exists()


def test_other_weights_are_refused(tmp_path: Path) -> None:
    state = random_state(seed=0)
    state["_conv_head.weight"] = state["_conv_head.weight"][:, :10]
    torch.save(state, tmp_path / "bad.pth")
    with pytest.raises(RelalignError, match="EfficientNet-Lite0's weights"):
        convert_weights(tmp_path / "bad.pth", tmp_path / WEIGHTS)
