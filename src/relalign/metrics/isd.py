"""ISD: how far the attention within one modality is from that within the other (after Ren et al., ACL 2021).

The paper's formula is not in its released code. The annotation-free values here are its two training objectives
read as a metric; the annotated one compares attention between phrases with attention between their regions. Both
are this project's definitions.
"""

from typing import TypedDict

from jaxtyping import Bool, Float
from torch import Tensor

from relalign.objectives.attention_alignment import distributed, singular

SMALLEST = 1e-6


class Masks(TypedDict):
    """What both distances are given alike."""

    text_mask: Tensor
    image_mask: Tensor
    per_pair: bool


def attention_distance(
    text_text: Float[Tensor, "pair word word"],
    image_image: Float[Tensor, "pair region region"],
    text_image: Float[Tensor, "pair word region"],
    image_text: Float[Tensor, "pair region word"],
    text_mask: Bool[Tensor, "pair word"],
    image_mask: Bool[Tensor, "pair region"],
) -> tuple[Float[Tensor, " pair"], Float[Tensor, " pair"]]:
    """(singular, distributed) ISD of each matching pair: the mean over the text and the image anchor.

    Blocks are those of `relalign.model.backbone.AttentionBlocks`: every row of a real token sums to 1. Attention
    that is uniform everywhere has distance 0 by both, so that a small distance can mean agreement or mere
    flatness. The singular one's extra softmax keeps a sharp, perfect one-to-one alignment above 0 (see
    `attention_alignment`).
    """
    masks: Masks = {"text_mask": text_mask, "image_mask": image_mask, "per_pair": True}
    around = text_image, image_text
    by_text = singular(text_text, image_image, text_image, anchor="text", **masks)
    by_image = singular(text_text, image_image, image_text, anchor="image", **masks)
    trip_text = distributed(text_text, image_image, *around, anchor="text", **masks)
    trip_image = distributed(text_text, image_image, *around, anchor="image", **masks)
    return (by_text + by_image) / 2, (trip_text + trip_image) / 2


def annotated_attention_distance(
    text_text: Float[Tensor, "word word"],
    image_image: Float[Tensor, "region region"],
    phrase_words: Bool[Tensor, "phrase word"],
    phrase_regions: Bool[Tensor, "phrase region"],
) -> float:
    """ISD of one pair whose phrases are annotated with words and regions; NaN with fewer than two usable phrases.

    For each modality A[p, q] is the attention that a token of phrase p pays to phrase q on average; rows are
    scaled to sum 1, and the distance is the mean over phrases of KL in both directions, with 1e-6 inside each
    logarithm. Phrases without any word or region are left out. 0 if both modalities attend alike.
    """
    usable = phrase_words.any(1) & phrase_regions.any(1)
    if usable.sum() < 2:
        return float("nan")
    first = _between_phrases(text_text.double(), phrase_words[usable].double())
    second = _between_phrases(image_image.double(), phrase_regions[usable].double())
    difference = (first + SMALLEST).log() - (second + SMALLEST).log()
    return float(((first - second) * difference).sum(1).mean())


def _between_phrases(
    attention: Float[Tensor, "token token"], members: Float[Tensor, "phrase token"]
) -> Float[Tensor, "phrase phrase"]:
    between = members @ attention @ members.T / members.sum(1, keepdim=True)
    scaled: Tensor = between / between.sum(1, keepdim=True).clamp(min=SMALLEST)
    return scaled
