"""Settings of `relalign.methods.covlr`, whose docstring has the formulas and the scale of the weights."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from relalign.settings.section import Count, NonNegative, NonNegativeCount, Positive, Section, Temperature


class Covlr(Section):
    """CoVLR: cross-modal consistency is meta-train, intra-modal relations are meta-test."""

    algorithm: Literal["covlr"]
    """Which method an entry is."""
    temperature: Temperature = 0.05
    """Of the contrastive softmax, at the start; it is learned. Source: X-VLM has 0.07."""
    matching: Literal["binary", "listwise"] = "binary"
    """`binary` is the baseline's matching loss; `listwise` chooses among negatives. Source: released: listwise."""
    matching_weight: NonNegative = 1.0
    """Of the matching loss. Source: released: 1."""
    matching_pairs: Annotated[int, Field(ge=2)] = 32
    """Of a batch, how many pairs are fused. Unit: pairs."""
    meta_order: Literal["none", "first", "second"] = "first"
    """Order of the meta step's gradient; `none` is the plain sum. Source: abstract: a step; released: none."""
    step_size: NonNegative = 0.01
    """Of the inner step of plain gradient descent. Source: unknown; after MetaAlign."""
    fast: Literal["all", "towers", "image", "text"] = "towers"
    """Which weights take the inner step. Source: unknown."""
    swap_roles_every: NonNegativeCount = 0
    """After so many updates the two tasks change roles; 0: never. Unit: updates. Source: MetaAlign: 1."""
    teacher: Literal["frozen", "trained"] = "frozen"
    """`trained`: the teachers of `teacher.encoders`, which are trained first; `frozen`: the encoders as they are.
    Source: released: vectors from a file, of encoders trained alone."""
    strong: Literal["text", "image", "both", "auto"] = "text"
    """The modality whose relations are kept; `auto`: whose trained teacher is better within its own modality on
    validation. Source: released: text."""
    relation: Literal["distance", "cosine", "cluster"] = "distance"
    """What a relation is: `distance` is released; with `cosine` near neighbours carry the mass. Source: released:
    distance."""
    relation_of: Literal["embedding", "fused"] = "embedding"
    """Whose relations are shaped. Source: released: fused."""
    relation_weight: NonNegative = 100.0
    """Of T^2 KL. At 100 its gradient is a third to a half of the contrastive one's. Source: released: 0.48 on this
    scale, which is inert."""
    relation_temperature: Positive = 0.1
    """T, for `cosine` and `cluster`."""
    clusters: Count = 16
    """Of the teacher's vectors, for `cluster`. Unit: clusters."""
    consistency_weight: NonNegative = 1.0
    """Of the fused vectors' consistency over two captions. Source: released: 10."""
    consistency_temperature: Positive = 0.1
    """Of NT-Xent. Source: released: 0.1."""
    band_weight: NonNegative = 0.44
    """Of the band regulariser's mean over pairs. Source: released: 0.001 of the sum over 21 x 21."""

    @property
    def taught(self) -> tuple[str, ...]:
        """The modalities whose trained teachers it asks for."""
        if self.teacher == "frozen":
            return ()
        return (self.strong,) if self.strong in ("image", "text") else ("image", "text")

    @model_validator(mode="after")
    def _auto_compares_trained_teachers(self) -> "Covlr":
        if self.strong == "auto" and self.teacher == "frozen":
            raise ValueError("strong: 'auto' compares trained teachers; it needs teacher: trained")
        return self
