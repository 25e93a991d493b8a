"""CoVLR: coordinating cross-modal consistency and intra-modal relations (arXiv 2304.07567, ICME 2024).

    L_tr   = ITC + w * MATCH                              cross-modal consistency: meta-train
    theta' = theta - step_size * gradient of L_tr         the towers, one step on
    L_te   = relations(theta') + consistency(theta')      intra-modal relation preservation: meta-test
    minimise L_tr(theta) + L_te(theta')

The abstract announces the meta step, the released code has none: `meta_order: none` is that code's plain sum, and
the step is rebuilt after MetaAlign, from which the code took its remnants. Relations are those of the strong
modality's frozen encoder (text, as released), kept by the vectors that are searched later (`relation_of:
embedding`) or, to the letter of the released code, by the fused vectors. Masked language modelling and masked
patch regression need encoders that are trained; over frozen features they do not apply.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from relalign.backbone import Backbone, Fused, Side, Widths
from relalign.batches import Batch
from relalign.methods.method import Terms, TrainedMethod, contrastive_term, matching_term
from relalign.objectives.consistency import band_regulariser, nt_xent_loss
from relalign.objectives.meta import meta_step
from relalign.objectives.relation import cluster_kl, cosine_relation_kl, relation_kl
from relalign.params import Covlr

_FAST = {
    "all": ("backbone.image.", "backbone.text.", "backbone.to_fusion.", "backbone.modality", "backbone.fusion"),
    "towers": ("backbone.image.", "backbone.text."),
    "image": ("backbone.image.",),
    "text": ("backbone.text.",),
}


class CovlrMethod(TrainedMethod):
    """Cross-modal consistency that is learned in the way that keeps the strong modality's relations."""

    def __init__(self, backbone: Backbone, settings: Covlr, *, widths: Widths) -> None:
        super().__init__(backbone)
        self.settings = settings

    def loss(self, batch: Batch, *, progress: float, generator: torch.Generator) -> Terms:
        """L_tr(theta) + L_te(theta'), or with `meta_order: none` the named terms of L_tr(theta) + L_te(theta)."""
        order = self.settings.meta_order
        if order == "none":
            image, text = self.backbone.encode_image(batch.image), self.backbone.encode_text(batch.text)
            cross_modal, fused = self._cross_modal(batch, image, text, generator)
            return cross_modal | self._intra_modal(batch, image, text, fused)

        tasks: dict[str, Callable[[CovlrMethod], Tensor]] = {
            "cross_modal": lambda model: model._cross_modal_task(batch, generator),
            "intra_modal": lambda model: model._intra_modal_task(batch),
        }
        # MetaAlign swaps every other step; a draw needs no counter that a resumed run would have to keep.
        swap = bool(torch.rand((), generator=generator, device=generator.device) < self.settings.swap_roles)
        train, test = reversed(tasks) if swap else tasks
        values: Terms = {}

        def noted(name: str) -> Callable[[CovlrMethod], Tensor]:
            def task(model: CovlrMethod) -> Tensor:
                value = tasks[name](model)
                values[name] = value.detach()
                return value

            return task

        total = meta_step(
            self, noted(train), noted(test), step_size=self.settings.step_size, order=order, fast=self._is_fast
        )
        return {train: values[train], test: total - values[train]}

    def _is_fast(self, name: str) -> bool:
        return name.startswith(_FAST[self.settings.fast])

    def _cross_modal_task(self, batch: Batch, generator: torch.Generator) -> Tensor:
        image, text = self.backbone.encode_image(batch.image), self.backbone.encode_text(batch.text)
        return _total(self._cross_modal(batch, image, text, generator)[0])

    def _intra_modal_task(self, batch: Batch) -> Tensor:
        # Both towers in the same order as in the other task: dropout then drops the same units of both.
        image, text = self.backbone.encode_image(batch.image), self.backbone.encode_text(batch.text)
        fused = self._fuse_first(image, text) if self._needs_fused else None
        return _total(self._intra_modal(batch, image, text, fused))

    @property
    def _needs_fused(self) -> bool:
        return self.settings.consistency_weight > 0 or self.settings.relation_of == "fused"

    def _fuse_first(self, image: Side, text: Side) -> Fused:
        rows = torch.arange(min(self.settings.matching_pairs, len(image.embedding)), device=image.embedding.device)
        return self.backbone.fuse(image.take(rows), text.take(rows))

    def _cross_modal(
        self, batch: Batch, image: Side, text: Side, generator: torch.Generator
    ) -> tuple[Terms, Fused | None]:
        settings = self.settings
        terms = {"contrastive": contrastive_term(self.backbone, image, text, batch)}
        if settings.matching_weight == 0:
            return terms, self._fuse_first(image, text) if self._needs_fused else None
        matching, fused = matching_term(
            self.backbone,
            image,
            text,
            batch,
            pairs=settings.matching_pairs,
            generator=generator,
            listwise=settings.matching == "listwise",
        )
        return terms | {"matching": settings.matching_weight * matching}, fused

    def _intra_modal(self, batch: Batch, image: Side, text: Side, fused: Fused | None) -> Terms:
        settings = self.settings
        terms = {"relation": settings.relation_weight * self._relation(batch, image, text, fused)}
        if fused is not None and settings.consistency_weight > 0:
            pairs = torch.arange(len(fused.pooled), device=fused.pooled.device)
            other = self.backbone.encode_text(batch.other_text.take(pairs))
            again = self.backbone.fuse(image.take(pairs), other)
            consistency = nt_xent_loss(fused.pooled, again.pooled, temperature=settings.consistency_temperature)
            band = settings.band_weight * band_regulariser(fused.pooled)
            terms["consistency"] = settings.consistency_weight * (consistency + band)
        return terms

    def _relation(self, batch: Batch, image: Side, text: Side, fused: Fused | None) -> Float[Tensor, ""]:
        """Mean over the strong modalities of the distance between the student's relations and the teacher's."""
        strong = ("text", "image") if self.settings.strong == "both" else (self.settings.strong,)
        teachers = {"text": batch.text.pooled, "image": batch.image.pooled}
        students = {"text": text.embedding, "image": image.embedding}
        if self.settings.relation_of == "fused" and fused is not None:
            students = dict.fromkeys(students, fused.pooled)
        losses = [self._distance(students[side], teachers[side][: len(students[side])]) for side in strong]
        return torch.stack(losses).mean()

    def _distance(self, student: Tensor, teacher: Tensor) -> Tensor:
        settings, temperature = self.settings, self.settings.relation_temperature
        if settings.relation == "distance":
            return relation_kl(student, teacher)
        if settings.relation == "cosine":
            return cosine_relation_kl(
                student, teacher, student_temperature=temperature, teacher_temperature=temperature
            )
        return cluster_kl(student, teacher, clusters=settings.clusters, temperature=temperature)


def _total(terms: Terms) -> Tensor:
    return torch.stack(list(terms.values())).sum()
