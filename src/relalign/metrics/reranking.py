"""Where the relevant candidates stand after the first k of the first stage were put into a new order."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from relalign.metrics.ranks import TieGroup

LOGIT_TIE = 1e-5  # equal pairs in batches of other shapes differ by float32 rounding


def rerank(first_stage: TieGroup, logits: Float[Tensor, "query k"], relevant: Bool[Tensor, "query k"]) -> TieGroup:
    """Tie groups of two-stage retrieval: the first k candidates by `logits`, then the others as they were.

    A query none of whose relevant candidates is among its first k keeps its first-stage place, which is below
    k already: re-ranking less never scores higher than the full ranking would.
    """
    found = relevant.any(1)
    best = logits.masked_fill(~relevant, -torch.inf).amax(1, keepdim=True)
    tied = (logits - best).abs() <= LOGIT_TIE
    above = (logits > best + LOGIT_TIE) & ~relevant
    return TieGroup(
        above=torch.where(found, above.sum(1), first_stage.above),
        tied=torch.where(found, (tied & ~relevant).sum(1), first_stage.tied),
        relevant=torch.where(found, (tied & relevant).sum(1), first_stage.relevant),
    )
