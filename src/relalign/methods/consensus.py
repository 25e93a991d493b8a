"""Consensus: towers that keep the relations on which frozen teachers agree. This project's own method.

    E     = trust-weighted mean of the calibrated relations of image, caption and another caption    (no gradient)
    loss  = contrast of image with each of its captions, targets softened by E
          + s * contrast of two of the captions, likewise                   captions of one image are neighbours
          + r_i * KL(E || image relations) + r_t * KL(E || text relations)  both towers keep the consensus
          + w * ITM + a * anneal(progress) * distributed IAIS               the reranker, its attention calibrated

What it takes from the others and what it does differently: CoVLR keeps one modality's relations and Rebalanced a
learned mix, which its loss cannot choose; here the mix follows from the data, batch by batch
(`objectives/consensus.py`). Both compare raw distances; here relations are standardised, so that preserving them
does not fight the contrastive loss over scale. The consensus can also correct the contrastive targets, where alike
items count as negatives. And a step contrasts an image with all of its captions, which says more of what it shows
than any one of them: text is cheap beside fusion. The first caption is mixed with the second where
`caption_mixing` says so, and it is these two that are contrasted as siblings, which then have a part in common.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from relalign.features.batches import Batch
from relalign.methods.method import Terms, TrainedMethod, matching_term
from relalign.model.backbone import Backbone, Fused, Widths
from relalign.objectives.annealing import annealed_weight
from relalign.objectives.attention_alignment import distributed
from relalign.objectives.consensus import (
    calibrated_relation_kl,
    calibrated_relations,
    softened_targets,
    trust,
)
from relalign.objectives.contrastive import symmetric_cross_entropy
from relalign.objectives.relation import standardised_rows
from relalign.objectives.similarity import cosine_matrix, off_diagonal
from relalign.settings.methods.consensus import Consensus

_FIXED_MIX = {"image": (0.0, 0.0, 1.0), "text": (0.5, 0.5, 0.0), "equal": (0.25, 0.25, 0.5)}


class ConsensusMethod(TrainedMethod):
    """Contrastive towers held to, and corrected by, what their teachers agree on."""

    def __init__(self, backbone: Backbone, settings: Consensus, *, widths: Widths) -> None:
        super().__init__(backbone)
        self.settings = settings
        self._image_trust = float("nan")

    @property
    def complete_from(self) -> float:
        """As in IAIS: when attention has grown to more than a third of its weight."""
        return 0.8 if self.settings.attention_weight > 0 else 0.0

    @property
    def captions(self) -> int:
        """All that are contrasted; the second one is also a teacher."""
        return max(self.settings.captions, 2)

    def scalars(self) -> dict[str, float]:
        """Also the image teacher's weight in the consensus of the last batch."""
        return super().scalars() | {"image_trust": self._image_trust}

    def loss(self, batch: Batch, *, progress: float, generator: torch.Generator) -> Terms:
        """The terms of the module's formula; matching and attention, which cost most, only if asked for."""
        settings = self.settings
        image, text = self.backbone.encode_image(batch.image), self.backbone.encode_text(batch.text)
        views = [text.embedding]
        for other in (batch.other_text, *batch.further_texts)[: settings.captions - 1]:
            views.append(self.backbone.encode_text(other).embedding)
        relations = self._consensus(batch)
        targets = softened_targets(relations, share=settings.soft_share, sharpness=settings.sharpness)
        terms = {
            "contrastive": torch.stack([self._contrast(image.embedding, view, targets) for view in views]).mean(),
            "image_relation": settings.image_relation_weight * self._kept(image.embedding, relations),
            "text_relation": settings.text_relation_weight
            * torch.stack([self._kept(view, relations) for view in views]).mean(),
        }
        if len(views) > 1:
            terms["sibling"] = settings.sibling_weight * self._contrast(views[0], views[1], targets)
        if settings.matching_weight > 0:
            matching, fused = matching_term(
                self.backbone,
                image,
                text,
                batch,
                pairs=settings.matching_pairs,
                generator=generator,
                attention=settings.attention_weight > 0,
            )
            terms["matching"] = settings.matching_weight * matching
            terms |= self._attention(fused, progress)
        return terms

    @torch.no_grad()
    def _consensus(self, batch: Batch) -> Float[Tensor, "item others"]:
        """The teachers' calibrated relations, mixed and calibrated again."""
        teachers = [
            calibrated_relations(side.pooled) for side in (batch.unmixed_text, batch.other_text, batch.image)
        ]
        weights = (
            trust(*teachers)
            if self.settings.mix == "consensus"
            else torch.tensor(_FIXED_MIX[self.settings.mix], device=teachers[0].device)
        )
        self._image_trust = weights[2].item()
        # Not a matrix product, which autocast would round to bfloat16.
        return standardised_rows((weights[:, None, None] * torch.stack(teachers)).sum(dim=0))

    def _contrast(self, rows: Tensor, columns: Tensor, targets: Tensor) -> Tensor:
        return symmetric_cross_entropy(cosine_matrix(rows, columns) / self.backbone.temperature, targets)

    def _kept(self, embedding: Tensor, relations: Tensor) -> Tensor:
        own = off_diagonal(cosine_matrix(embedding, embedding))
        return calibrated_relation_kl(own, relations, sharpness=self.settings.sharpness)

    def _attention(self, fused: Fused, progress: float) -> Terms:
        blocks = fused.attention
        if blocks is None:
            return {}
        both = [
            distributed(
                blocks.text_text,
                blocks.image_image,
                blocks.text_image,
                blocks.image_text,
                anchor=anchor,
                text_mask=blocks.text_mask,
                image_mask=blocks.image_mask,
            )
            for anchor in ("text", "image")
        ]
        weight = self.settings.attention_weight * annealed_weight(progress, "exp")
        return {"attention": weight * torch.stack(both).mean()}
