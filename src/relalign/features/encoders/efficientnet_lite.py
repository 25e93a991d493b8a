"""EfficientNet-Lite0 without its classifier: RGB to a grid of regions of width 1280, 32 px a side.

Architecture: M. Tan and Q. Le, "EfficientNet", ICML 2019, in its "lite" form (no squeeze-and-excitation, ReLU6).
The weights were trained in TensorFlow, hence its "same" padding, its batch-norm epsilon and its input scale.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Shaped, UInt8
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_weights

from relalign.errors import RelalignError
from relalign.features.encoders.base import Encoded
from relalign.features.encoders.part import INPUT, EncoderPart, InputOf, cut_position, safe_root

REGIONS_A_SIDE = 7
WEIGHTS = "model.safetensors"
_BATCH_NORM_EPSILON = 1e-3
# (blocks, kernel, stride of the first block, expansion, output channels) of each stage.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


class SameConv(nn.Conv2d):
    """A convolution (batch norm folded into it) with TensorFlow's "same" padding: the odd pixel goes to the end.

    With stride 2 on an even side, kernel 3 pads (0, 1) and kernel 5 pads (1, 2); PyTorch's symmetric padding
    would look at other pixels.
    """

    def __init__(self, channels: int, out: int, kernel: int, *, stride: int = 1, groups: int = 1) -> None:
        super().__init__(channels, out, kernel, stride=stride, groups=groups)

    def forward(self, image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        """The filtered image, of side ceil(side / stride)."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        if stride == 1:
            return F.conv2d(image, self.weight, self.bias, padding=kernel // 2, groups=self.groups)
        height, width = (max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in image.shape[2:])
        padded = F.pad(image, (width // 2, width - width // 2, height // 2, height - height // 2))
        return F.conv2d(padded, self.weight, self.bias, stride, groups=self.groups)


class Block(nn.Module):
    """Inverted residual: widen, filter each channel, narrow; added to its input where the shapes agree."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = channels * expansion
        self.expand = SameConv(channels, inner, 1) if expansion > 1 else nn.Identity()
        self.depthwise = SameConv(inner, inner, kernel, stride=stride, groups=inner)
        self.project = SameConv(inner, out, 1)
        self.widens = expansion > 1
        self.residual = stride == 1 and channels == out

    def forward(self, image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        """The block's output map."""
        inner = F.relu6(self.expand(image), inplace=True) if self.widens else image
        narrow: Tensor = self.project(F.relu6(self.depthwise(inner), inplace=True))
        return image + narrow if self.residual else narrow


class EfficientNetLite0(nn.Module):
    """The layers up to the last feature map; `EfficientNetLite0Part` runs them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv(3, 32, 3, stride=2)
        blocks, channels = [], 32
        for count, kernel, first_stride, expansion, out in _STAGES:
            for index in range(count):
                blocks.append(Block(channels, out, kernel, first_stride if index == 0 else 1, expansion))
                channels = out
        self.blocks = nn.Sequential(*blocks)
        self.head = SameConv(channels, 1280, 1)


class EfficientNetLite0Part(EncoderPart):
    """The network from a cut on: "input" (pixels), a block, or "head"; activations are maps, a position a place.

    Its features are 7 x 7 regions in reading order, and the mean of the last feature map as pooled vector. Larger
    maps are averaged down to 7 x 7 regions. The summary is the square root of mean and maximum over the whole map:
    features are never negative and a few are large.
    """

    token_width = 1280

    def __init__(self, network: EfficientNetLite0, cut: str = INPUT) -> None:
        super().__init__()
        known = [INPUT, *(f"blocks.{index}" for index in range(len(network.blocks))), "head"]
        position = cut_position(cut, known, encoder="EfficientNet-Lite0")
        self.stem = network.stem if position == 0 else None
        self.blocks = network.blocks[max(position - 1, 0) :]
        self.head = network.head

    def forward(
        self,
        activations: Shaped[Tensor, "batch position width"],
        mask: Bool[Tensor, "batch position"],
        content: Bool[Tensor, "batch position"] | None = None,
        cached_summary: Float[Tensor, "batch summary_width"] | None = None,
    ) -> Encoded:
        """Features of maps or, from "input" on, of pixels as bytes; all positions are real."""
        grid = self.last_map(self.as_map(activations))
        regions = F.adaptive_avg_pool2d(grid, REGIONS_A_SIDE).flatten(2).transpose(1, 2)
        mean, maximum = grid.mean((2, 3)), grid.amax((2, 3))
        return Encoded(regions, mean, safe_root(torch.cat([mean, maximum], dim=1)))

    def trained_layers(self) -> Sequence[nn.Module]:
        """The stem, if it is above the cut, the blocks and the head."""
        stem = [] if self.stem is None else [self.stem]
        return [*stem, *self.blocks.children(), self.head]

    def as_map(
        self, activations: Shaped[Tensor, "batch position width"]
    ) -> Shaped[Tensor, "batch width side side"]:
        """Positions in reading order as a square map, in the memory order that is fastest here."""
        side = math.isqrt(activations.shape[1])
        square: Tensor = activations.unflatten(1, (side, side)).permute(0, 3, 1, 2)
        return square

    def last_map(self, image: Shaped[Tensor, "batch width side side"]) -> Float[Tensor, "batch 1280 side2 side2"]:
        """The last feature map."""
        if self.stem is not None:
            image = F.relu6(self.stem((image.float() - 127) / 128), inplace=True)
        last: Tensor = F.relu6(self.head(self.blocks(image)), inplace=True)
        return last


class EfficientNetLite0Encoder:
    """`ImageEncoder`: the whole network, or with a cut also its activations there.

    An image is squeezed to a square (bicubic, antialiased) without cropping, because captions speak of the
    whole picture; pixels are scaled to (pixel - 127) / 128 as in training. Trained at 224, the network describes
    pictures better somewhat above that (Touvron et al., "Fixing the train-test resolution discrepancy", 2019).
    """

    def __init__(
        self, folder: Path, device: torch.device, *, image_size: int = 224, train_from: str | None = None
    ) -> None:
        self.device = device
        self.image_size = image_size
        network = load_network(folder).eval().to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.train_from = train_from
        self.part = EfficientNetLite0Part(network)
        above = EfficientNetLite0Part(network, train_from or INPUT)
        self.at_cut = None if train_from in (None, INPUT) else InputOf(above.trained_layers()[0])

    def prepare(self, image: Image.Image) -> UInt8[np.ndarray, "side side 3"]:
        """The square image, as bytes."""
        square = (self.image_size, self.image_size)
        if image.size != square:
            image = image.resize(square, Image.Resampling.BICUBIC)
        return np.asarray(image)

    @torch.inference_mode()
    def encode(self, inputs: UInt8[np.ndarray, "batch side side 3"]) -> Encoded:
        """Features of a stack of prepared images."""
        pixels = torch.tensor(inputs).to(self.device).flatten(1, 2)
        everywhere = torch.ones(pixels.shape[:2], dtype=torch.bool, device=self.device)
        encoded = self.part(pixels, everywhere)
        tokens = encoded.tokens
        if self.train_from is not None:
            tokens = pixels if self.at_cut is None else self.at_cut.seen.flatten(2).transpose(1, 2)
        return Encoded(tokens.cpu(), encoded.pooled.cpu(), encoded.summary.cpu())


def load_network(folder: Path) -> EfficientNetLite0:
    """The network with the weights of an encoder's folder."""
    network = EfficientNetLite0()
    network.load_state_dict(load_file(folder / WEIGHTS))
    return network


def convert_weights(pickled: Path, destination: Path) -> None:
    """Turn the published `.pth` state dict into safetensors, batch norms folded into their convolutions.

    `weights_only=True` lets nothing but tensors out of the pickle. Raises `RelalignError` for other contents.
    """
    try:
        state = torch.load(pickled, map_location="cpu", weights_only=True)
        folded = _fold(state)
        EfficientNetLite0().load_state_dict(folded)
    except Exception as error:
        raise RelalignError(f"{pickled.name} does not hold EfficientNet-Lite0's weights: {error}") from error
    save_file(folded, destination)


def _fold(state: dict[str, Tensor]) -> dict[str, Tensor]:
    names = {"stem": ("_conv_stem", "_bn0"), "head": ("_conv_head", "_bn1")}
    for index in range(sum(stage[0] for stage in _STAGES)):
        layers = {"expand": ("_expand_conv", "_bn0"), "depthwise": ("_depthwise_conv", "_bn1")}
        for ours, (conv, norm) in {**layers, "project": ("_project_conv", "_bn2")}.items():
            if index > 0 or ours != "expand":  # the first block does not widen
                names[f"blocks.{index}.{ours}"] = (f"_blocks.{index}.{conv}", f"_blocks.{index}.{norm}")
    folded: dict[str, Tensor] = {}
    for ours, (conv, norm) in names.items():
        weight, bias = fuse_conv_bn_weights(
            state[f"{conv}.weight"],
            None,
            state[f"{norm}.running_mean"],
            state[f"{norm}.running_var"],
            _BATCH_NORM_EPSILON,
            state[f"{norm}.weight"],
            state[f"{norm}.bias"],
        )
        folded |= {f"{ours}.weight": weight.detach().contiguous(), f"{ours}.bias": bias.detach().contiguous()}
    return folded
