"""The attention of one matching pair, as IAIS compares it: for a picture, not for a number."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from relalign.features.batches import SplitData
from relalign.model.backbone import Backbone, Side
from relalign.retrieval.embeddings import Embeddings
from relalign.retrieval.two_stage import caption_positions

_WORDS = range(4, 10)  # fewer say nothing, more cannot be read


@torch.inference_mode()
def attention_example(
    model: Backbone, data: SplitData, embeddings: Embeddings, captions: Mapping[int, str]
) -> dict[str, Any] | None:
    """The first test caption of 4 to 9 words, each of them one token, with its own image: attention among its
    words, and what regions say of it.

    `words_to_words` is the last fusion layer's attention among words; `through_regions` the attention among the
    regions that each word attends to most (the singular counterpart of IAIS, rows normed). None where there is no
    such caption.
    """
    positions = caption_positions(data, embeddings)
    lengths = data.text.table.lengths[data.text.rows[positions]].tolist()
    words = [captions[caption].split() for caption in embeddings.text_ids.tolist()]
    fits = (len(its) == length and length in _WORDS for its, length in zip(words, lengths, strict=True))
    row = next((row for row, fit in enumerate(fits) if fit), None)
    if row is None:
        return None
    owner, chosen = torch.tensor([embeddings.text_to_image[row]]), torch.tensor([row])
    device = data.image_ids.device
    image = Side(torch.from_numpy(embeddings.image)[owner].to(device), data.image.take(owner))
    text = Side(torch.from_numpy(embeddings.text)[chosen].to(device), data.text.take(positions[chosen]))
    blocks = model.fuse(image, text, attention=True).attention
    assert blocks is not None  # noqa: S101 (asked for)
    caption = int(embeddings.text_ids[row])
    return {
        "caption_id": caption,
        "caption": captions[caption],
        "words": words[row],
        "words_to_words": _rounded(blocks.text_text[0]),
        "through_regions": _rounded(through_regions(blocks.image_image[0], blocks.text_image[0])),
    }


def through_regions(
    image_image: Float[Tensor, "region region"], text_image: Float[Tensor, "word region"]
) -> Float[Tensor, "word word"]:
    """Attention between the regions that each two words attend to most; rows sum to 1."""
    partner = text_image.argmax(dim=1)
    chosen = image_image[partner][:, partner]
    return chosen / chosen.sum(1, keepdim=True).clamp(min=torch.finfo().tiny)


def _rounded(matrix: Float[Tensor, "row column"]) -> list[list[float]]:
    return [[round(value, 4) for value in row] for row in matrix.float().tolist()]
