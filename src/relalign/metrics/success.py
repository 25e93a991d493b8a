"""Whether any relevant candidate is among the first k, with ties in expectation."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from relalign.metrics.ranks import TieGroup
from relalign.metrics.vectors import TIE


def tie_group(scores: Float[Tensor, "query candidate"], relevant: Bool[Tensor, "query candidate"]) -> TieGroup:
    """Where the best relevant candidate of each query stands, from whole rows of float64 scores."""
    best = scores.masked_fill(~relevant, -torch.inf).amax(1, keepdim=True)
    tied = (scores - best).abs() <= TIE
    above = (scores > best + TIE).sum(1)
    return TieGroup(
        above=torch.where(relevant.any(1), above, 0),
        tied=(tied & ~relevant).sum(1),
        relevant=(tied & relevant).sum(1),
    )


def success_at(
    scores: Float[Tensor, "query candidate"], relevant: Bool[Tensor, "query candidate"], *, ks: Sequence[int]
) -> dict[int, Float[Tensor, " query"]]:
    """Recall@k as cross-modal retrieval uses the word (one hit suffices), in percent; NaN without any relevant.

    >>> success_at(torch.tensor([[0.9, 0.5]]).double(), torch.tensor([[False, True]]), ks=(1, 2))[2].item()
    100.0
    """
    group = tie_group(scores, relevant)
    asked = relevant.any(1)
    return {k: torch.where(asked, 100 * group.hit(k), torch.nan) for k in ks}
