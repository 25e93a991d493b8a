"""Both towers of a model as modules from prepared tensors to embeddings, the encoders below them included.

They compute what `RetrievalModel` does, with the same roundings, in operations alone: no step depends on the
values that pass through, so that they can be traced (`relalign.retrieval.onnx_files`). Captions are padded here,
and masked.
"""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

from relalign.features.encoders.base import Encoded, saturated_half
from relalign.features.encoders.efficientnet_lite import EfficientNetLite0Encoder
from relalign.features.encoders.trained import TrainedEncoder
from relalign.features.encoders.transformers_image import TransformersImageEncoder
from relalign.features.encoders.transformers_text import TransformersTextEncoder
from relalign.methods.model_files import Embedder
from relalign.model.backbone import Backbone
from relalign.retrieval.given import checked_texts
from relalign.retrieval.retrieval_model import RetrievalModel, unscaled


class ImageTower(nn.Module):
    """Stacked outputs of the image encoder's `prepare` to unit-norm embeddings."""

    def __init__(self, model: RetrievalModel) -> None:
        super().__init__()
        encoder = model.image_encoder
        assert isinstance(encoder, EfficientNetLite0Encoder | TransformersImageEncoder)  # noqa: S101 (all there are)
        self.embedder, self.part, self.at_cut = model.embedder, encoder.part, encoder.at_cut
        self.takes_bytes = isinstance(encoder, EfficientNetLite0Encoder)

    def forward(self, pixels: Shaped[Tensor, "batch a b c"]) -> Float[Tensor, "batch width"]:
        """Embed images: bytes of shape (side, side, 3) for EfficientNet, otherwise floats (3, height, width)."""
        positions = pixels.flatten(1, 2) if self.takes_bytes else pixels.flatten(2).transpose(1, 2)
        encoded = self.part(positions, _everywhere(positions))
        below = positions if self.at_cut is None else self.at_cut.seen
        below = below.flatten(2).transpose(1, 2) if below.ndim == 4 else below
        return _embedding(self.embedder, "image", encoded, below, _everywhere(below), _everywhere(below))


class TextTower(nn.Module):
    """Padded token numbers and the mask of real ones to unit-norm embeddings."""

    def __init__(self, model: RetrievalModel) -> None:
        super().__init__()
        encoder = model.text_encoder
        assert isinstance(encoder, TransformersTextEncoder)  # noqa: S101 (all there are)
        self.embedder, self.part, self.at_cut = model.embedder, encoder.part, encoder.at_cut
        special = np.array(encoder.tokeniser("a", return_special_tokens_mask=True)["special_tokens_mask"])
        words = np.flatnonzero(special == 0)
        self.before, self.behind = int(words[0]), len(special) - 1 - int(words[-1])

    def forward(
        self, input_ids: Int[Tensor, "batch length"], attention_mask: Int[Tensor, "batch length"]
    ) -> Float[Tensor, "batch width"]:
        """Embed captions whose tokens are followed by padding, which the mask has at 0."""
        real = attention_mask > 0
        place = real.long().cumsum(1) - 1
        words = real & (place >= self.before) & (place < real.sum(1, keepdim=True) - self.behind)
        words = words | (
            ~words.any(1, keepdim=True) & (place == 0) & real
        )  # without a word it keeps its first token
        seen = real if self.part.has_mask else torch.ones_like(real)
        encoded = self.part(input_ids[..., None], seen, words)
        below = input_ids[..., None] if self.at_cut is None else self.at_cut.seen
        embedding = _embedding(self.embedder, "text", encoded, below, seen, words)
        return embedding + 0 * attention_mask.sum()  # what a trace does not use is no input of it (SigLIP's mask)


def _everywhere(positions: Shaped[Tensor, "batch position width"]) -> Bool[Tensor, "batch position"]:
    return torch.ones_like(positions[..., 0], dtype=torch.bool)


def _embedding(
    embedder: Embedder,
    side: str,
    encoded: Encoded,
    below: Shaped[Tensor, "batch position below"],
    mask: Bool[Tensor, "batch position"],
    content: Bool[Tensor, "batch position"],
) -> Float[Tensor, "batch width"]:
    """`below` are the activations at the cut, of an encoder that has one."""
    pooled, summary = encoded.pooled, saturated_half(encoded.summary).float()
    trained = embedder.encoders[side] if isinstance(embedder, Backbone) and side in embedder.encoders else None
    if isinstance(trained, TrainedEncoder):
        read = saturated_half(below).float() if below.is_floating_point() else below
        finished = trained.part(read, mask, content, summary)
        pooled, summary = finished.pooled, finished.summary
    return F.normalize(unscaled(embedder, side, pooled, summary), dim=-1)


def padded_tokens(
    model: RetrievalModel, texts: list[str]
) -> tuple[Int[Tensor, "text length"], Int[Tensor, "text length"]]:
    """Token numbers of texts, padded to the longest, and the mask of real ones, as `TextTower` reads them."""
    encoder = model.text_encoder
    assert isinstance(encoder, TransformersTextEncoder)  # noqa: S101 (all there are)
    batch = encoder.tokeniser(
        [encoder.prefix + text for text in checked_texts(texts)],
        truncation=True,
        max_length=encoder.length,
        padding="max_length" if encoder.pads_fully else "longest",
        return_tensors="pt",
        return_attention_mask=True,
    )
    return batch["input_ids"], batch["attention_mask"]
