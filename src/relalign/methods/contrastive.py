"""The baseline: contrastive alignment plus hard-negative matching (ALBEF, arXiv 2107.07651; X-VLM, 2111.08276).

image, text = towers(batch)
loss = ITC(image, text) + w * ITM(fusion of pairs and of their hard negatives)
"""

import torch

from relalign.features.batches import Batch
from relalign.methods.method import Terms, TrainedMethod, contrastive_term, encode_texts, matching_term
from relalign.model.backbone import Backbone, Widths
from relalign.settings.methods.contrastive import Contrastive


class ContrastiveMethod(TrainedMethod):
    """Exact matching of images and captions and nothing else: what the other methods are measured against."""

    def __init__(self, backbone: Backbone, settings: Contrastive, *, widths: Widths) -> None:
        super().__init__(backbone)
        self.settings = settings

    def loss(self, batch: Batch, *, progress: float, generator: torch.Generator) -> Terms:
        """ITC + w * ITM."""
        image, texts = self.backbone.encode_image(batch.image), encode_texts(self.backbone, batch)
        terms = {"contrastive": contrastive_term(self.backbone, image, texts, batch)}
        if self.settings.matching_weight > 0:
            matching, _ = matching_term(
                self.backbone, image, texts[0], batch, pairs=self.settings.matching_pairs, generator=generator
            )
            terms["matching"] = self.settings.matching_weight * matching
        return terms
