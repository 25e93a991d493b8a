"""EfficientNet-Lite0 straight from the published state dict: batch norms kept, padding by its definition."""

import torch
from torch import Tensor
from torch.nn import functional as F

STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
)
STAGES = (*STAGES, (1, 3, 1, 6, 320))


def same_conv(image: Tensor, weight: Tensor, stride: int, groups: int = 1) -> Tensor:
    """TensorFlow: ceil(side / stride) places; the padding that takes is split, the odd pixel last."""
    side, kernel = image.shape[-1], weight.shape[-1]
    outputs = (side + stride - 1) // stride
    total = max((outputs - 1) * stride + kernel - side, 0)
    before = total // 2
    padded = torch.zeros(*image.shape[:2], side + total, side + total)
    padded[:, :, before : before + side, before : before + side] = image
    return F.conv2d(padded, weight, stride=stride, groups=groups)


def batch_norm(image: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    """Inference-time batch norm with TensorFlow's epsilon for this network."""
    weight, bias, mean, variance = (
        state[f"{name}.{part}"][:, None, None] for part in ("weight", "bias", "running_mean", "running_var")
    )
    return (image - mean) / torch.sqrt(variance + 1e-3) * weight + bias


def relu6(image: Tensor) -> Tensor:
    """Clip to [0, 6]."""
    return image.clamp(0, 6)


def feature_map(pixels: Tensor, state: dict[str, Tensor]) -> Tensor:
    """The last feature map, (batch, 1280, side / 32, side / 32), for pixels in 0 .. 255."""
    image = (pixels - 127) / 128
    image = relu6(batch_norm(same_conv(image, state["_conv_stem.weight"], 2), state, "_bn0"))
    index = 0
    for count, _, first_stride, expansion, _ in STAGES:
        for repeat in range(count):
            image = block(image, state, f"_blocks.{index}", first_stride if repeat == 0 else 1, expansion)
            index += 1
    return relu6(batch_norm(same_conv(image, state["_conv_head.weight"], 1), state, "_bn1"))


def block(image: Tensor, state: dict[str, Tensor], name: str, stride: int, expansion: int) -> Tensor:
    """One inverted residual block."""
    inner = image
    if expansion > 1:
        inner = relu6(batch_norm(same_conv(inner, state[f"{name}._expand_conv.weight"], 1), state, f"{name}._bn0"))
    depthwise = state[f"{name}._depthwise_conv.weight"]
    inner = relu6(batch_norm(same_conv(inner, depthwise, stride, len(depthwise)), state, f"{name}._bn1"))
    out = batch_norm(same_conv(inner, state[f"{name}._project_conv.weight"], 1), state, f"{name}._bn2")
    return out + image if out.shape == image.shape else out


def random_state(seed: int) -> dict[str, Tensor]:
    """A state dict with the published names and shapes and random values, scaled so that activations live."""
    generator = torch.Generator().manual_seed(seed)
    state: dict[str, Tensor] = {}

    def add(conv: str, norm: str, out: int, inputs: int, kernel: int) -> None:
        weight = torch.randn(out, inputs, kernel, kernel, generator=generator)
        state[f"{conv}.weight"] = weight / (inputs * kernel * kernel) ** 0.5
        for part in ("weight", "bias", "running_mean", "running_var"):
            state[f"{norm}.{part}"] = torch.rand(out, generator=generator) + 0.5 * (part == "running_var")
        state[f"{norm}.num_batches_tracked"] = torch.tensor(1)

    add("_conv_stem", "_bn0", 32, 3, 3)
    index, channels = 0, 32
    for count, kernel, _, expansion, out in STAGES:
        for _ in range(count):
            name, inner = f"_blocks.{index}", channels * expansion
            if expansion > 1:
                add(f"{name}._expand_conv", f"{name}._bn0", inner, channels, 1)
            add(f"{name}._depthwise_conv", f"{name}._bn1", inner, 1, kernel)
            add(f"{name}._project_conv", f"{name}._bn2", out, inner, 1)
            index, channels = index + 1, out
    add("_conv_head", "_bn1", 1280, 320, 1)
    state["_fc.weight"], state["_fc.bias"] = torch.zeros(1000, 1280), torch.zeros(1000)
    return state
