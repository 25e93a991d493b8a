"""LoRA: an encoder's pretrained weights stay, and each linear map learns a change of low rank (arXiv 2106.09685).

    W' = W + B A        A: rank x in, drawn at random; B: out x rank, begins at 0

Linear are `nn.Linear` and convolutions of one pixel, in layers above the cut. All else (biases, norms, embeddings,
wider convolutions) stays as it is. The paper's factor alpha / rank is 1: the learning rate says how fast B grows.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize

from relalign.errors import RelalignError
from relalign.features.encoders.trained import TrainedEncoder


class _LowRank(nn.Module):
    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        out, width = weight.flatten(1).shape
        self.down = nn.Parameter(torch.randn(rank, width) / width**0.5)
        self.up = nn.Parameter(torch.zeros(out, rank))

    def forward(self, weight: Float[Tensor, "out in *pixel"]) -> Float[Tensor, "out in *pixel"]:
        changed: Tensor = weight + (self.up @ self.down).view_as(weight)
        return changed


def with_low_rank(encoder: TrainedEncoder, rank: int) -> None:
    """Freeze an encoder in place, but for changes of this rank; drawn from the global generator.

    Raises `RelalignError` for a rank that one of its maps does not have.
    """
    maps = {
        name: module
        for number, layer in enumerate(encoder.trained_layers())
        for name, module in layer.named_modules(prefix=str(number))
        if isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.weight[0, 0].numel() == 1)
    }
    for name, module in maps.items():
        if rank >= (least := min(module.weight.flatten(1).shape)):
            side = encoder.description["encoder"]["modality"]
            raise RelalignError(
                f"training.lora_rank is {rank}, but the map '{name}' of the {side} encoder's trained layers has "
                f"rank {least}. Lower it below that."
            )
    encoder.requires_grad_(False)
    for module in maps.values():
        parametrize.register_parametrization(module, "weight", _LowRank(module.weight, rank))


def merge_low_rank(encoder: TrainedEncoder) -> None:
    """Make ordinary weights of what `with_low_rank` made, in place; they give what they gave."""
    for module in encoder.modules():
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight")
