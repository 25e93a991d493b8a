"""The second stage for one query: its first candidates, re-ordered by the fusion encoder's matching logit."""

import torch
from jaxtyping import Float32
from torch import Tensor

from relalign.features.table import Features
from relalign.model.backbone import Backbone, Side
from relalign.model.precision import in_precision
from relalign.settings.section import Precision


@torch.inference_mode()
def matching_of(
    backbone: Backbone,
    image: tuple[Float32[Tensor, "image width"], Features],
    text: tuple[Float32[Tensor, "text width"], Features],
    *,
    precision: Precision,
) -> list[float]:
    """The matching logit of every image with the one text, or of every text with the one image.

    Each side is unit-norm embeddings and finished features. As `relalign.retrieval.two_stage`, for few pairs.
    """
    device = next(backbone.parameters()).device
    pairs = max(len(image[0]), len(text[0]))
    with in_precision(device, precision):
        sides = (
            project(Side(vectors.to(device), features)).take(torch.arange(pairs, device=device) % len(vectors))
            for project, (vectors, features) in ((backbone.project_image, image), (backbone.project_text, text))
        )
        logits: list[float] = backbone.fuse(*sides).matching_logit.float().tolist()
    return logits
