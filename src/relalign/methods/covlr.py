"""CoVLR: coordinating cross-modal consistency and intra-modal relations (arXiv 2304.07567, ICME 2024).

    L_tr   = ITC + w * MATCH                              cross-modal consistency: meta-train
    theta' = theta - step_size * gradient of L_tr         the towers, one step on
    L_te   = relations(theta') + consistency(theta')      intra-modal relation preservation: meta-test
    minimise L_tr(theta) + L_te(theta')

The abstract announces the meta step, the released code has none: `meta_order: none` is that code's plain sum, and
the step is rebuilt after MetaAlign, from which the code took its remnants. With `swap_roles_every` the two tasks
change roles after so many updates, as MetaAlign does (there after each, 1). MetaAlign's step follows the learning
rate as that decays; `step_size` stays, and is a step of plain gradient descent (`python -m benchmarks.meta_step`
says how far it goes beside an update).
Relations are those of the strong modality's teacher (text, as released), of the caption as it was before
`caption_mixing`: the frozen encoder or, with `teacher: trained`, one that was trained first. They are kept by the
vectors that are searched later (`relation_of: embedding`) or, to the letter of the released code, by the fused
vectors. Masked language modelling and masked patch regression need encoders that are trained (`train_from`); they
are not built yet.

Scale: the relation term is `relation_weight * T^2 * KL`, T being the temperature of the target's softmaxes: 1 for
"distance", which has none, `relation_temperature` for the others. The gradient of a KL grows as 1 / T^2 (Hinton et
al., arXiv 1503.02531, section 2), and none of the three grows with the batch, so that one weight serves all. With
512 pairs of Flickr8k the default 100 gives the text tower a gradient 0.3 ("distance"), 0.5 ("cosine") and 0.6
("cluster") times ITC's, at the start as after a few epochs. The released weight, 10 on the KL over the batch size
of 21 a device, is 0.48 here, a 210th: 0.0015 times ITC's gradient (0.002 with 21 pairs), which constrains nothing.
`band_weight` is of the mean over pairs; the released 0.001 of their sum over 21 x 21 is 0.44. The released weight
of consistency is 10, and its matching is `listwise`; the defaults here are 1 and the binary loss of the baseline,
so that what differs from the baseline is CoVLR's own.

The two passes of a meta step drop the same units of the towers and of one fusion layer; between more layers, whose
tokens are as many as the longest caption of a pass, dropout is drawn anew.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor

from relalign.features.batches import Batch
from relalign.methods.method import Terms, TrainedMethod, contrastive_term, encode_texts, matching_term
from relalign.model.backbone import Backbone, Fused, Side, Widths
from relalign.objectives.consistency import band_regulariser, nt_xent_loss
from relalign.objectives.meta import meta_step
from relalign.objectives.relation import cluster_kl, cosine_relation_kl, relation_kl
from relalign.settings.methods.covlr import Covlr

_FAST = {
    "all": (
        "backbone.image.",
        "backbone.text.",
        "backbone.encoders.",
        "backbone.to_fusion.",
        "backbone.product_to_fusion.",
        "backbone.modality",
        "backbone.fusion",
    ),
    "towers": ("backbone.image.", "backbone.text.", "backbone.encoders."),
    "image": ("backbone.image.", "backbone.encoders.image."),
    "text": ("backbone.text.", "backbone.encoders.text."),
}


class CovlrMethod(TrainedMethod):
    """Cross-modal consistency that is learned in the way that keeps the strong modality's relations.

    `updates` counts the updates of the optimiser; a buffer, so that a checkpoint brings it back.
    """

    updates: Tensor

    def __init__(self, backbone: Backbone, settings: Covlr, *, widths: Widths) -> None:
        super().__init__(backbone)
        self.settings = settings
        self.register_buffer("updates", torch.tensor(0.0))

    def loss(self, batch: Batch, *, progress: float, generator: torch.Generator) -> Terms:
        """L_tr(theta) + L_te(theta'), or with `meta_order: none` the named terms of L_tr(theta) + L_te(theta)."""
        order = self.settings.meta_order
        seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
        if order == "none":
            image, texts = self.backbone.encode_image(batch.image), encode_texts(self.backbone, batch)
            cross_modal, fused = self._cross_modal(batch, image, texts, generator)
            return cross_modal | self._intra_modal(batch, image, texts[0], fused, seed)

        tasks: dict[str, Callable[[CovlrMethod], Tensor]] = {
            "cross_modal": lambda model: model._cross_modal_task(batch, generator),
            "intra_modal": lambda model: model._intra_modal_task(batch, seed),
        }
        every = self.settings.swap_roles_every
        train, test = reversed(tasks) if every and int(self.updates) // every % 2 else tasks
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

    def project(self) -> None:
        """As the baseline's; and one more update is done."""
        super().project()
        self.updates += 1

    @property
    def captions(self) -> int:
        """The second view of consistency is a third caption: the first view is mixed with the second caption."""
        return 3

    def _is_fast(self, name: str) -> bool:
        return name.startswith(_FAST[self.settings.fast])

    def _cross_modal_task(self, batch: Batch, generator: torch.Generator) -> Tensor:
        image, texts = self.backbone.encode_image(batch.image), encode_texts(self.backbone, batch)
        return _total(self._cross_modal(batch, image, texts, generator)[0])

    def _intra_modal_task(self, batch: Batch, seed: int) -> Tensor:
        # Both towers in the same order as in the other task: dropout then drops the same units of both.
        image, text = self.backbone.encode_image(batch.image), self.backbone.encode_text(batch.text)
        fused = self._fuse_first(image, text) if self._needs_fused else None
        return _total(self._intra_modal(batch, image, text, fused, seed))

    @property
    def _needs_fused(self) -> bool:
        return self.settings.consistency_weight > 0 or self.settings.relation_of == "fused"

    def _fuse_first(self, image: Side, text: Side) -> Fused:
        rows = torch.arange(min(self.settings.matching_pairs, len(image.embedding)), device=image.embedding.device)
        return self.backbone.fuse(image.take(rows), text.take(rows))

    def _cross_modal(
        self, batch: Batch, image: Side, texts: list[Side], generator: torch.Generator
    ) -> tuple[Terms, Fused | None]:
        settings, text = self.settings, texts[0]
        terms = {"contrastive": contrastive_term(self.backbone, image, texts, batch)}
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

    def _intra_modal(self, batch: Batch, image: Side, text: Side, fused: Fused | None, seed: int) -> Terms:
        settings = self.settings
        terms = {"relation": settings.relation_weight * self._relation(batch, image, text, fused)}
        if fused is not None and settings.consistency_weight > 0:
            pairs = torch.arange(len(fused.pooled), device=fused.pooled.device)
            with _dropout_of_its_own(seed, pairs.device):
                other = self.backbone.encode_text(batch.further_texts[0].take(pairs))
                again = self.backbone.fuse(image.take(pairs), other)
            consistency = nt_xent_loss(fused.pooled, again.pooled, temperature=settings.consistency_temperature)
            band = settings.band_weight * band_regulariser(fused.pooled) / len(pairs) ** 2
            terms["consistency"] = settings.consistency_weight * (consistency + band)
        return terms

    def _relation(self, batch: Batch, image: Side, text: Side, fused: Fused | None) -> Float[Tensor, ""]:
        """Mean over the strong modalities of the scaled KL from the teacher's relations to the student's."""
        strong = ("text", "image") if self.settings.strong == "both" else (self.settings.strong,)
        teachers = {"text": batch.unmixed_text.pooled, "image": batch.image.pooled}
        students = {"text": text.embedding, "image": image.embedding}
        if self.settings.relation_of == "fused" and fused is not None:
            students = dict.fromkeys(students, fused.pooled)
        losses = [self._divergence(students[side], teachers[side][: len(students[side])]) for side in strong]
        return torch.stack(losses).mean()

    def _divergence(self, student: Tensor, teacher: Tensor) -> Tensor:
        settings, temperature = self.settings, self.settings.relation_temperature
        if settings.relation == "distance":
            return relation_kl(student, teacher) * len(student)  # undoes its division: the KL itself
        if settings.relation == "cosine":
            divergence = cosine_relation_kl(
                student, teacher, student_temperature=temperature, teacher_temperature=temperature
            )
        else:
            divergence = cluster_kl(student, teacher, clusters=settings.clusters, temperature=temperature)
        return temperature**2 * divergence


@contextmanager
def _dropout_of_its_own(seed: int, device: torch.device) -> Iterator[None]:
    """Dropout that follows from `seed` and neither sees nor changes what was dropped before."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def _total(terms: Terms) -> Tensor:
    return torch.stack(list(terms.values())).sum()
