"""What an encoder is to the features stage: pixels or token numbers of a batch in, features of each row out."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, Shaped
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor


@dataclass(frozen=True)
class Encoded:
    """Token features and two vectors for each input of a batch.

    From an encoder that is cut, `tokens` are the activations at the cut: float32, or integers where those are
    token numbers or pixels. `pooled` is the encoder's own vector of a row, the single-modal teacher's; `summary`
    is all that the towers of the backbone read, such as means and maxima over tokens, also of lower layers.
    """

    tokens: Shaped[Tensor, "batch tokens width"]
    pooled: Float[Tensor, "batch pooled_width"]
    summary: Float[Tensor, "batch summary_width"]


@dataclass(frozen=True)
class TokenisedCaption:
    """A caption as the text encoder reads it.

    `content` is True at the positions whose features are kept: words, not what the tokenizer adds around them
    (CLS, SEP, end of text, padding). At least one position is True.
    """

    numbers: Int64[np.ndarray, " length"]
    content: Bool[np.ndarray, " length"]


@runtime_checkable
class ImageEncoder(Protocol):
    """An image encoder whose inputs all have one size. Features are on the CPU."""

    def prepare(self, image: Image.Image) -> NDArray[np.generic]:
        """Upright RGB image to the array of one input; safe to call from several threads at once."""

    def encode(self, inputs: NDArray[np.generic]) -> Encoded:
        """Features of a stack of prepared images; every token is a region, CLS and registers are left out."""


@runtime_checkable
class TextEncoder(Protocol):
    """A text encoder; features are on the CPU. `keeps_all`: it is cut, and wants every position kept."""

    keeps_all: bool

    def tokenise(self, captions: list[str]) -> list[TokenisedCaption]:
        """Token numbers of each caption, cut to the encoder's `max_tokens`."""

    def encode(
        self, numbers: Int64[np.ndarray, "batch length"], content: Bool[np.ndarray, "batch length"]
    ) -> Encoded:
        """Features at every position of captions of equal length; summaries are over `content` alone."""


def mean_and_maximum(
    tokens: Float[Tensor, "batch tokens width"], real: Bool[Tensor, "batch tokens"]
) -> Float[Tensor, "batch twice_width"]:
    """The mean and, behind it, the maximum over the real tokens of each row (at least one)."""
    left_out = ~real.unsqueeze(-1)
    mean = tokens.masked_fill(left_out, 0.0).sum(1) / real.sum(1, keepdim=True)
    return torch.cat([mean, tokens.masked_fill(left_out, -torch.inf).amax(1)], dim=1)


def saturated_half(values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Float16, as stores keep features, saturated instead of overflowing to infinity."""
    largest = torch.finfo(torch.float16).max
    return values.clamp(-largest, largest).half()
