"""Settings of `relalign.methods.iais`, whose docstring has the formulas."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from relalign.settings.section import (
    Count,
    NonNegative,
    NonNegativeCount,
    Positive,
    Section,
    Temperature,
    each_once,
)


class Iais(Section):
    """IAIS: intra-modal attention calibrated through inter-modal attention."""

    algorithm: Literal["iais"]
    """Which method an entry is."""
    temperature: Temperature = 0.05
    """Of the contrastive softmax, at the start; it is learned. Source: X-VLM has 0.07."""
    task: Literal["matching", "ranking"] = "matching"
    """`ranking` is the paper's; `matching` the cheaper loss that all methods share. Source: released: ranking."""
    task_weight: NonNegative = 1.0
    """Of the task's loss. Source: released: 1."""
    matching_pairs: Count = 32
    """Of a batch, how many pairs are fused. Unit: pairs. Source: released: 64 queries a direction."""
    alignment: Literal["singular", "distributed", "soft", "entropy"] = "singular"
    """The form of IAIS; `entropy` is a control of ours that aligns how flat attention is and not where it looks.
    Source: released: singular."""
    renormalise: bool = False
    """Of `singular`: norm the rows again. Source: released: false."""
    anchors: Annotated[
        tuple[Literal["text", "image"], ...], Field(strict=False, min_length=1), AfterValidator(each_once)
    ] = ("text", "image")
    """Whose attention within is aligned. Source: released: both."""
    annealing: Literal["exp", "linear", "log", "constant"] = "exp"
    """How the weight of IAIS rises over the training. Source: released: exp."""
    lambda_iais: NonNegative = 8.0
    """The weight of IAIS at the end. Source: released: 1, beside a task that is divided by 8."""
    ranking_queries: Count = 1
    """Of `ranking`, an update and direction. Unit: queries. Source: released: 64."""
    ranking_candidates: Count = 400
    """Of which the hardest are taken. Source: released: 400."""
    ranking_prefilter: NonNegativeCount = 0
    """Fusion scores only so many candidates, the nearest by embedding; 128 cost 1.4 baseline steps, all cost 2.2;
    0: all. Unit: candidates. Source: released: all."""
    ranking_negatives: Count = 31
    """The hardest that train. Source: released: 31."""
    ranking_margin: Positive = 0.2
    """Of the triplet loss. Source: released: 0.2."""

    @model_validator(mode="after")
    def _settings_have_an_effect(self) -> "Iais":
        if self.renormalise and self.alignment != "singular":
            raise ValueError(f"renormalise: only alignment 'singular' has it, not '{self.alignment}'")
        if self.ranking_negatives >= self.ranking_candidates:
            raise ValueError("ranking_negatives: fewer than ranking_candidates, which hold the query's own")
        if 0 < self.ranking_prefilter < self.ranking_negatives:
            raise ValueError("ranking_prefilter: 0 or at least ranking_negatives, which are taken from it")
        return self
