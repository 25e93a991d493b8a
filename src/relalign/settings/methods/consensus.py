"""Settings of `relalign.methods.consensus`, whose docstring has the formulas."""

from typing import Literal

from pydantic import model_validator

from relalign.settings.section import BelowOne, Count, NonNegative, Positive, Section, Temperature


class Consensus(Section):
    """Ours: towers that keep the relations on which frozen teachers agree."""

    algorithm: Literal["consensus"]
    """Which method an entry is."""
    temperature: Temperature = 0.05
    """Of the contrastive softmax, at the start; it is learned."""
    matching_weight: NonNegative = 1.0
    """Of the matching loss."""
    matching_pairs: Count = 32
    """Of a batch, how many pairs are fused. Unit: pairs."""
    captions: Count = 5
    """Of an image, how many are contrasted with it in a step, where other methods take one. Unit: captions."""
    sibling_weight: NonNegative = 0.25
    """Of the contrast between captions of one image."""
    soft_share: BelowOne = 0.0
    """Of the contrastive targets, given to pairs that the teachers find alike. Unit: fraction."""
    image_relation_weight: NonNegative = 1.0
    """Of the relations among image embeddings."""
    text_relation_weight: NonNegative = 0.5
    """Of the relations among text embeddings."""
    sharpness: Positive = 1.5
    """Of the softmax over calibrated relations."""
    teacher: Literal["frozen", "trained"] = "frozen"
    """`trained`: the teachers of `teacher.encoders`, which are trained first; `frozen`: the encoders."""
    mix: Literal["consensus", "equal", "text", "image"] = "consensus"
    """How much each teacher counts: by agreement, all alike, or one alone."""
    attention_weight: NonNegative = 1.0
    """Of aligned attention in fusion, at the end of the training. Source: IAIS (2105.13868)."""

    @property
    def taught(self) -> tuple[str, ...]:
        """The modalities whose trained teachers it asks for."""
        return () if self.teacher == "frozen" else ("image", "text")

    @model_validator(mode="after")
    def _attention_needs_fused_pairs(self) -> "Consensus":
        if self.attention_weight > 0 and self.matching_weight == 0:
            raise ValueError("attention_weight: is of the pairs that are matched; 0 where matching_weight is 0")
        return self
