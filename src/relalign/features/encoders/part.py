"""An encoder from a cut upwards, as a module: activations at the cut in, token features and vectors out.

`encoder.<name>.train_from` names the cut. What lies below it is frozen and its output is cached by the
features stage; what lies above trains (`relalign.features.encoders.trained`). The whole encoder is the part from
"input" on.
"""

import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn

from relalign.errors import RelalignError
from relalign.features.encoders.base import Encoded

INPUT = "input"


class EncoderPart(nn.Module, ABC):
    """What an encoder does from its cut on."""

    token_width: int
    """Of the token features."""

    @abstractmethod
    def forward(
        self,
        activations: Shaped[Tensor, "batch position width"],
        mask: Bool[Tensor, "batch position"],
        content: Bool[Tensor, "batch position"] | None = None,
        cached_summary: Float[Tensor, "batch summary_width"] | None = None,
    ) -> Encoded:
        """Token features at every position (images: of every region), and both vectors of each row.

        `mask` is false at padding; `content` at positions that are not the input's own, such as CLS. What the
        summary takes from layers below the cut is read from `cached_summary`.
        """

    @abstractmethod
    def trained_layers(self) -> Sequence[nn.Module]:
        """The layers from the cut upwards; what is in none of them goes with the last."""


def cut_position(cut: str, known: Sequence[str], *, encoder: str) -> int:
    """Where a cut stands among those there are, or a `RelalignError` that lists them."""
    if cut not in known:
        raise RelalignError(
            f"encoder.<name>.train_from: {encoder} has no cut '{cut}'. The cuts there are, from the bottom: "
            f"{', '.join(known)}."
        )
    return list(known).index(cut)


def safe_root(values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The square root of values from 0 on, whose gradient stays finite at 0.

    The gradient is that of sqrt(x + 0.01), at most 5; the value is the root itself.
    """
    if not (values.requires_grad and torch.is_grad_enabled()):
        return values.sqrt()
    smooth = (values + 0.01).sqrt()
    return smooth - (smooth - values.sqrt()).detach()


class InputOf:
    """The last input of a module, as seen by the asking thread: features are made by several at once."""

    def __init__(self, module: nn.Module) -> None:
        self._own = threading.local()
        module.register_forward_pre_hook(self._note)

    def _note(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        self._own.seen = inputs[0]

    @property
    def seen(self) -> Tensor:
        """The first positional argument of the module's last call in this thread."""
        seen: Tensor = self._own.seen
        return seen
