"""Rebalanced vision-language retrieval: structure-aware distillation (arXiv 2412.10761, IEEE TIP 33:6881-6892).

    stage 1:  ITC + 2 ITM
    stage 2:  ITC + 2 ITM + IIC + 2 TTC + 2 L_kd + L_kdi + L_kdt

IIC and TTC pull each embedding to its own modality's frozen teacher (contrastively, through a learned projection);
the structure terms compare relations with E = mix * text teacher's + (1 - mix) * image teacher's. The teachers are
the pooled vectors of the same rows, of the frozen encoders or (`teacher: trained`) of teachers that were trained
first, the caption's as it was before `caption_mixing`. With `strong` E is one teacher alone. Stage 1 is the first
`stage_one` of training: the released code instead loads a checkpoint of a first run with a schedule of its own.
The structure terms are the mean over `relations`: those of fused vectors, as released, and of embeddings
within ("image", "text") and between ("cross") modalities.

Degenerate directions (see `StructureLoss`): the mix is learned but bounded, `mix_bound: none` being the released
behaviour; the second temperature only scales the structure terms, so that learning it, as released, is learning to
switch them off: it is fixed unless `learn_structure_temperature`, and then learned as a logarithm and bounded.
Both are logged every epoch.
"""

import torch
from torch import Tensor, nn

from relalign.features.batches import Batch
from relalign.methods.method import Terms, TrainedMethod, contrastive_term, encode_texts, matching_term
from relalign.model.backbone import Backbone, Fused, Side, Widths, clamp_log_temperature
from relalign.objectives.contrastive import one_way_contrastive_loss
from relalign.objectives.distillation import StructureLoss, relation_structure_loss
from relalign.objectives.similarity import cosine_matrix
from relalign.settings.methods.rebalanced import Rebalanced


class RebalancedMethod(TrainedMethod):
    """Cross-modal matching whose student keeps a learned mix of two single-modal teachers' structure."""

    def __init__(self, backbone: Backbone, settings: Rebalanced, *, widths: Widths) -> None:
        super().__init__(backbone)
        self.settings = settings
        width = backbone.image.linear.out_features
        self.image_teacher = nn.Linear(widths.image_pooled, width)
        self.text_teacher = nn.Linear(widths.text_pooled, width)
        only = {"text": 1.0, "image": 0.0}.get(settings.strong)
        self._through_sigmoid = only is None and settings.mix_bound == "sigmoid"
        start = torch.tensor(settings.mix if only is None else only)
        start = start.logit() if self._through_sigmoid else start
        self.raw_mix = nn.Parameter(start, requires_grad=settings.learn_mix and only is None)
        self.log_structure_temperature = nn.Parameter(
            torch.tensor(settings.structure_temperature).log(), requires_grad=settings.learn_structure_temperature
        )

    @property
    def complete_from(self) -> float:
        """Stage 2, if there is one."""
        return self.settings.stage_one if self.settings.stage_one < 1 else 0.0

    @property
    def mix(self) -> Tensor:
        """Share of the text teacher in E."""
        raw: Tensor = self.raw_mix
        return raw.sigmoid() if self._through_sigmoid else raw

    @property
    def structure_temperature(self) -> Tensor:
        """The second temperature, within [0.01, 1] if it is learned."""
        log: Tensor = self.log_structure_temperature
        return log.exp()

    @torch.no_grad()
    def project(self) -> None:
        """Also the mix into [0, 1], if it is clamped, and the second temperature.

        Only so do they come back: outside, the term that draws the mix back in has no gradient at a clamped value,
        while another one drives it on.
        """
        super().project()
        if self.settings.mix_bound == "clamp":
            self.raw_mix.clamp_(0.0, 1.0)
        if self.settings.learn_structure_temperature:
            clamp_log_temperature(self.log_structure_temperature)

    def scalars(self) -> dict[str, float]:
        """Also the second temperature and the mix."""
        learned = {"mix": self.mix.item(), "structure_temperature": self.structure_temperature.item()}
        return super().scalars() | learned

    def loss(self, batch: Batch, *, progress: float, generator: torch.Generator) -> Terms:
        """The first two terms in stage 1, all seven in stage 2."""
        settings = self.settings
        image, texts = self.backbone.encode_image(batch.image), encode_texts(self.backbone, batch)
        text = texts[0]
        matching, fused = matching_term(
            self.backbone, image, text, batch, pairs=settings.matching_pairs, generator=generator
        )
        terms = {
            "contrastive": settings.contrastive_weight * contrastive_term(self.backbone, image, texts, batch),
            "matching": settings.matching_weight * matching,
        }
        if progress < settings.stage_one:
            return terms
        return terms | self._representation(batch, image, text) | self._structure(batch, image, text, fused)

    def _representation(self, batch: Batch, image: Side, text: Side) -> Terms:
        ids, temperature = batch.image_ids, self.backbone.temperature
        image_loss, text_loss = (
            one_way_contrastive_loss(side.embedding, teacher, temperature=temperature, ids=ids)
            for side, teacher in (
                (image, self.image_teacher(batch.image.pooled)),
                (text, self.text_teacher(batch.unmixed_text.pooled)),
            )
        )
        return {
            "image_distillation": self.settings.image_distillation_weight * image_loss,
            "text_distillation": self.settings.text_distillation_weight * text_loss,
        }

    def _structure(self, batch: Batch, image: Side, text: Side, fused: Fused) -> Terms:
        vectors = {
            "fused": (fused.pooled, fused.pooled),
            "image": (image.embedding, image.embedding),
            "text": (text.embedding, text.embedding),
            "cross": (image.embedding, text.embedding),
        }
        losses = [self._structure_of(batch, text, *vectors[name]) for name in self.settings.relations]
        student, of_image, of_text = (
            torch.stack([getattr(loss, part) for loss in losses]).mean() for part in ("student", "image", "text")
        )
        return {
            "structure": self.settings.structure_weight * student,
            "image_structure": self.settings.image_structure_weight * of_image,
            "text_structure": self.settings.text_structure_weight * of_text,
        }

    def _structure_of(self, batch: Batch, text: Side, rows: Tensor, columns: Tensor) -> StructureLoss:
        size = len(rows)  # fused vectors exist for the first pairs of the batch only
        image_teacher, text_teacher = batch.image.pooled[:size], batch.unmixed_text.pooled[:size]
        texts = text.embedding[:size].detach()
        return relation_structure_loss(
            cosine_matrix(rows, columns),
            cosine_matrix(image_teacher, image_teacher),
            cosine_matrix(text_teacher, text_teacher),
            mix=self.mix,
            temperature=self.structure_temperature,
            distance=self.settings.distance,
            weights=(1 - cosine_matrix(texts, texts)).clamp(min=0),
        )
