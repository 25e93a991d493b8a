"""What a frozen encoder is: the pixels or token numbers of a batch in, token features and pooled vectors out."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32, Int64
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor


@dataclass(frozen=True)
class Encoded:
    """Token features and one pooled vector for each input of a batch, on the CPU."""

    tokens: Float32[Tensor, "batch tokens width"]
    pooled: Float32[Tensor, "batch pooled_width"]


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
    """A frozen image encoder whose inputs all have one size."""

    def prepare(self, image: Image.Image) -> NDArray[np.generic]:
        """Upright RGB image to the array of one input; safe to call from several threads at once."""

    def encode(self, inputs: NDArray[np.generic]) -> Encoded:
        """Features of a stack of prepared images; every token is a region, CLS and registers are left out."""


@runtime_checkable
class TextEncoder(Protocol):
    """A frozen text encoder."""

    def tokenise(self, captions: list[str]) -> list[TokenisedCaption]:
        """Token numbers of each caption, cut to the encoder's `max_tokens`."""

    def encode(self, numbers: Int64[np.ndarray, "batch length"]) -> Encoded:
        """Features at every position of captions of equal length, and their pooled vectors."""
