"""A model in the shape of open_clip's, for tools that evaluate such models (CLIP_benchmark's zero-shot retrieval).

>>> model, preprocess, tokenizer = as_open_clip(relalign.load("exported/consensus"))  # doctest: +SKIP
>>> clip_benchmark.metrics.zeroshot_retrieval.evaluate(model, loader, tokenizer, "cpu")  # doctest: +SKIP
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int, Shaped
from PIL import Image
from torch import Tensor, nn

from relalign.features.encoders.transformers_text import TransformersTextEncoder
from relalign.retrieval.given import upright_image
from relalign.retrieval.retrieval_model import RetrievalModel
from relalign.retrieval.towers import ImageTower, TextTower, padded_tokens

_PADDING = -1  # no token has this number; a tokenizer's own padding may be a token of the text, as CLIP's is


class DualEncoder(nn.Module):
    """`encode_image` of stacked `preprocess` outputs, `encode_text` of `tokenizer` outputs; both of unit norm."""

    def __init__(self, model: RetrievalModel) -> None:
        super().__init__()
        encoder = model.text_encoder
        assert isinstance(encoder, TransformersTextEncoder)  # noqa: S101 (all there are)
        self.image, self.text = ImageTower(model).eval(), TextTower(model).eval()
        self.padding = encoder.tokeniser.pad_token_id or 0

    def encode_image(self, image: Shaped[Tensor, "batch a b c"]) -> Float[Tensor, "batch width"]:
        """Embed prepared images."""
        embedding: Tensor = self.image(image)
        return embedding

    def encode_text(self, text: Int[Tensor, "batch length"]) -> Float[Tensor, "batch width"]:
        """Embed token numbers, which end in -1."""
        real = text != _PADDING
        embedding: Tensor = self.text(text.masked_fill(~real, self.padding), real.long())
        return embedding


def as_open_clip(
    model: RetrievalModel,
) -> tuple[DualEncoder, Callable[[Image.Image], Tensor], Callable[[str | list[str]], Tensor]]:
    """The model, what prepares one image for it, and what makes token numbers of texts, in open_clip's order."""

    def preprocess(image: Image.Image) -> Tensor:
        return torch.tensor(model.image_encoder.prepare(upright_image(image, model.max_pixels, name="the image")))

    def tokenizer(texts: str | list[str]) -> Tensor:
        ids, mask = padded_tokens(model, [texts] if isinstance(texts, str) else texts)
        return ids.masked_fill(mask == 0, _PADDING)

    return DualEncoder(model), preprocess, tokenizer
