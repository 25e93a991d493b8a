"""IAIS: inter-modal alignment on intra-modal self-attentions (Ren et al., ACL 2021, arXiv 2105.13868).

    loss = ITC + w * TASK + lambda_iais * anneal(progress) * mean over anchors of IAIS(positive pairs)

TASK is the hard-negative ranking loss the paper trains (`task: ranking`: each query against the 31 hardest of 400
candidates, which are scored without gradient first) or, cheaper, the matching loss that all methods share. The
paper's update has 64 queries a direction, each with candidates of its own; here it has `ranking_queries`, which
share theirs. `ranking_prefilter` lets fusion score only the candidates nearest by embedding. A short batch has
fewer candidates and negatives. IAIS compares the last fusion layer's word-word and region-region attention through
the attention across, of `matching_pairs` positive pairs (64 in the paper), or of as many as there are queries if
those are more; `alignment: entropy`, a control of ours, compares how flat it is and not where it looks. ITC is not
the paper's, whose model has no towers: it serves the first stage of retrieval, alike in all methods. `lambda_iais`
8 is what the released code amounts to, which divides the ranking loss by its eight accumulation steps but not
IAIS.
"""

from typing import TypedDict

import torch
from jaxtyping import Float, Int
from torch import Tensor

from relalign.features.batches import Batch
from relalign.methods.method import Terms, TrainedMethod, contrastive_term, encode_texts, matching_term
from relalign.model.backbone import Backbone, Fused, Side, Widths
from relalign.model.fusion import AttentionBlocks
from relalign.objectives.annealing import annealed_weight
from relalign.objectives.attention_alignment import Anchor, distributed, entropy, singular, soft
from relalign.objectives.ranking import hardest_negatives, sigmoid_triplet_loss
from relalign.settings.methods.iais import Iais


class Masks(TypedDict):
    """The real tokens of both modalities, as the objectives take them."""

    text_mask: Tensor
    image_mask: Tensor


class IaisMethod(TrainedMethod):
    """Matching whose attention within each modality agrees with what the other modality says."""

    def __init__(self, backbone: Backbone, settings: Iais, *, widths: Widths) -> None:
        super().__init__(backbone)
        self.settings = settings

    @property
    def complete_from(self) -> float:
        """When any annealing has grown to more than a third; an earlier epoch may be hardly of this method."""
        return 0.0 if self.settings.annealing == "constant" else 0.8

    def loss(self, batch: Batch, *, progress: float, generator: torch.Generator) -> Terms:
        """ITC + w * TASK + annealed IAIS."""
        settings = self.settings
        image, texts = self.backbone.encode_image(batch.image), encode_texts(self.backbone, batch)
        text = texts[0]
        if settings.task == "matching":
            task, fused = matching_term(
                self.backbone,
                image,
                text,
                batch,
                pairs=settings.matching_pairs,
                generator=generator,
                attention=True,
            )
        else:
            task, fused = self._ranking(batch, image, text, generator)
        assert fused.attention is not None  # noqa: S101 (for the type checker)
        weight = settings.lambda_iais * annealed_weight(progress, settings.annealing)
        return {
            "contrastive": contrastive_term(self.backbone, image, texts, batch),
            settings.task: settings.task_weight * task,
            "alignment": weight * self.alignment(fused.attention),
        }

    def alignment(self, blocks: AttentionBlocks) -> Tensor:
        """Mean over the anchors of the chosen variant of IAIS."""
        return torch.stack([self._anchored(blocks, anchor) for anchor in self.settings.anchors]).mean()

    def _anchored(self, blocks: AttentionBlocks, anchor: Anchor) -> Tensor:
        ll, vv, lv, vl = blocks.text_text, blocks.image_image, blocks.text_image, blocks.image_text
        masks = Masks(text_mask=blocks.text_mask, image_mask=blocks.image_mask)
        if self.settings.alignment == "distributed":
            return distributed(ll, vv, lv, vl, anchor=anchor, **masks)
        cross = lv if anchor == "text" else vl
        if self.settings.alignment == "soft":
            return soft(ll, vv, cross, anchor=anchor, **masks)
        if self.settings.alignment == "entropy":
            return entropy(ll, vv, cross, anchor=anchor, **masks)
        return singular(ll, vv, cross, anchor=anchor, renormalise=self.settings.renormalise, **masks)

    def _ranking(self, batch: Batch, image: Side, text: Side, generator: torch.Generator) -> tuple[Tensor, Fused]:
        """Mean of both directions' hard-negative triplet loss, and the fused positives."""
        settings, device = self.settings, batch.image_ids.device
        size = len(batch.image_ids)
        pairs = torch.arange(min(max(settings.ranking_queries, settings.matching_pairs), size), device=device)
        positive = self.backbone.fuse(image.take(pairs), text.take(pairs), attention=True)
        queries = pairs[: settings.ranking_queries]
        drawn = torch.randperm(size, generator=generator, device=generator.device).to(device)
        both = self._hardest(batch, queries, drawn[: settings.ranking_candidates])
        losses = []
        for swapped, hardest in zip((False, True), both, strict=True):
            negative = self._scores(image, text, queries, hardest, swapped)
            own = positive.matching_logit[: len(queries)]
            losses.append(sigmoid_triplet_loss(own, negative, margin=settings.ranking_margin))
        return torch.stack(losses).mean(), positive

    @torch.no_grad()
    def _hardest(
        self, batch: Batch, queries: Int[Tensor, " query"], candidates: Int[Tensor, " candidate"]
    ) -> list[Int[Tensor, "query negative"]]:
        """For image and for text queries: the rows that the model, as in evaluation, ranks highest.

        Of the (nearest) candidates of other images; only those rows and the queries' are encoded for it.
        """
        settings, rows = self.settings, torch.cat([queries, candidates])
        ids = batch.image_ids[rows]
        places = torch.arange(len(rows), device=rows.device)
        own, others = places[: len(queries)], places[len(queries) :].expand(len(queries), -1)
        training = self.training
        self.eval()
        image = self.backbone.encode_image(batch.image.take(rows))
        text = self.backbone.encode_text(batch.text.take(rows))
        found = []
        for swapped in (False, True):
            near = others
            if settings.ranking_prefilter:
                asking, answering = (text, image) if swapped else (image, text)
                similarity = (asking.embedding[own] @ answering.embedding.T).gather(1, others)
                near = _best(similarity, ids, own, others, settings.ranking_prefilter)
            scores = self._scores(image, text, own, near, swapped)
            found.append(rows[_best(scores, ids, own, near, settings.ranking_negatives)])
        self.train(training)
        return found

    def _scores(
        self, image: Side, text: Side, queries: Tensor, candidates: Tensor, swapped: bool
    ) -> Float[Tensor, "query candidate"]:
        """Matching logits of image queries with candidate texts, or (`swapped`) of text queries with images."""
        repeated, flat = queries.repeat_interleave(candidates.shape[1]), candidates.flatten()
        images, texts = (flat, repeated) if swapped else (repeated, flat)
        # Each row's tokens are projected once, however many pairs it is part of.
        image_rows, images = images.unique(return_inverse=True)
        text_rows, texts = texts.unique(return_inverse=True)
        known_image = self.backbone.project_image(image.take(image_rows))
        known_text = self.backbone.project_text(text.take(text_rows))
        return self.backbone.fuse(known_image.take(images), known_text.take(texts)).matching_logit.view_as(
            candidates
        )


def _best(scores: Tensor, ids: Tensor, queries: Tensor, candidates: Tensor, count: int) -> Tensor:
    """The rows of the `count` highest-scoring candidates of other images, or of as many as every query has."""
    admissible = ids[queries, None] != ids[candidates]
    count = max(1, min(count, int(admissible.sum(dim=1).min())))
    return candidates.gather(1, hardest_negatives(scores, admissible=admissible, count=count))
