"""A dual encoder as it comes: the projections of CLIP or SigLIP, compared by cosine, and no training at all.

embedding = unit norm of the encoder's own vector; both encoders must be of one joint model (arXiv 2103.00020).
"""

import torch.nn.functional as F
from torch import nn

from relalign.errors import RelalignError
from relalign.features.table import Features
from relalign.model.backbone import Side, Widths


class ZeroShotEmbedder(nn.Module):
    """The pooled vectors of both encoders; the same calls as the backbone's towers, without weights or fusion.

    Raises `RelalignError` if the two vectors differ in width, as those of encoders that share no space do. (If
    those have one width by chance, they are compared all the same, and the numbers are those of chance.)
    """

    def __init__(self, widths: Widths) -> None:
        super().__init__()
        if widths.image_pooled != widths.text_pooled:
            raise RelalignError(
                f"algorithm 'zero_shot' compares the encoders' own vectors, but encoders.image gives "
                f"{widths.image_pooled} numbers and encoders.text {widths.text_pooled}. Let both be of one joint "
                "model, such as CLIP or SigLIP."
            )

    def encode_image(self, features: Features) -> Side:
        """Embed images."""
        return Side(F.normalize(features.pooled, dim=-1), features)

    def encode_text(self, features: Features) -> Side:
        """Embed captions."""
        return Side(F.normalize(features.pooled, dim=-1), features)
