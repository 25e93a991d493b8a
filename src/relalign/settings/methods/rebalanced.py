"""Settings of `relalign.methods.rebalanced`, whose docstring has the formulas."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from relalign.settings.section import (
    TEMPERATURES,
    Fraction,
    NonNegative,
    Positive,
    Section,
    Temperature,
    each_once,
)


class Rebalanced(Section):
    """Rebalanced: representation and structure distillation from two teachers."""

    algorithm: Literal["rebalanced"]
    """Which method an entry is."""
    temperature: Temperature = 0.05
    """Of the contrastive softmax, at the start; it is learned. Source: X-VLM has 0.07."""
    stage_one: Fraction = 0.5
    """How long only contrastive and matching terms train. Unit: fraction of the training. Source: released: a run
    of its own."""
    contrastive_weight: NonNegative = 1.0
    """Of the contrastive loss between image and text. Source: released: 1."""
    matching_weight: NonNegative = 2.0
    """Of the matching loss. Source: released: 2."""
    matching_pairs: Annotated[int, Field(ge=2)] = 32
    """Of a batch, how many pairs are fused. Unit: pairs."""
    image_distillation_weight: NonNegative = 1.0
    """Of the image embeddings' contrast with their teacher (IIC). Source: released: 1."""
    text_distillation_weight: NonNegative = 2.0
    """Of the text embeddings' contrast with their teacher (TTC). Source: released: 2."""
    structure_weight: NonNegative = 2.0
    """Of the relations' distance to the teachers' mix (L_kd). Source: released: 2."""
    image_structure_weight: NonNegative = 1.0
    """Of the mix's distance to the image teacher (L_kdi). Source: released: 1."""
    text_structure_weight: NonNegative = 1.0
    """Of the mix's distance to the text teacher (L_kdt). Source: released: 1."""
    distance: Literal["mae", "mse", "cumulative", "wasserstein"] = "mae"
    """Between relation matrices; `cumulative` is the code's `kl`. Source: released scripts: mae."""
    relations: Annotated[
        tuple[Literal["fused", "image", "text", "cross"], ...],
        Field(strict=False, min_length=1),
        AfterValidator(each_once),
    ] = ("fused",)
    """Whose relations are shaped. Source: released: fused."""
    teacher: Literal["frozen", "trained"] = "frozen"
    """`trained`: the teachers of `teacher.encoders`, which are trained first; `frozen`: the encoders as they are.
    Source: released: vectors from a file, of encoders trained alone."""
    strong: Literal["none", "text", "image", "auto"] = "none"
    """The one modality whose teacher's relations are kept, in place of a mix; `none`: the mix; `auto`: whose
    trained teacher is better within its own modality on validation. Source: released: the mix."""
    mix: float = 0.5
    """Of the text teacher in the teachers' mix, at the start. Unit: fraction."""
    mix_bound: Literal["none", "clamp", "sigmoid"] = "clamp"
    """How the learned mix is kept within 0 and 1. Source: released: none."""
    learn_mix: bool = True
    """Whether the mix is learned. Source: released: true."""
    structure_temperature: Positive = 0.07
    """Of the structure terms."""
    learn_structure_temperature: bool = False
    """Learning it is learning to switch the structure terms off. Source: released: true."""

    @property
    def taught(self) -> tuple[str, ...]:
        """The modalities whose trained teachers it asks for."""
        return () if self.teacher == "frozen" else ("image", "text")

    @model_validator(mode="after")
    def _auto_compares_trained_teachers(self) -> "Rebalanced":
        if self.strong == "auto" and self.teacher == "frozen":
            raise ValueError("strong: 'auto' compares trained teachers; it needs teacher: trained")
        return self

    @model_validator(mode="after")
    def _mix_is_within_its_bound(self) -> "Rebalanced":
        if (
            self.mix_bound == "sigmoid"
            and not 0 < self.mix < 1
            or self.mix_bound == "clamp"
            and not 0 <= self.mix <= 1
        ):
            raise ValueError(f"mix: {self.mix} is outside the bound that mix_bound '{self.mix_bound}' sets")
        return self

    @model_validator(mode="after")
    def _learned_temperature_is_within_bounds(self) -> "Rebalanced":
        low, high = TEMPERATURES
        if self.learn_structure_temperature and not low <= self.structure_temperature <= high:
            raise ValueError(f"structure_temperature: if learned, between {low:g} and {high:g}")
        return self
