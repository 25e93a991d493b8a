"""Rankings with ties: which candidates share a place, so that metrics can average over their orders."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from relalign.metrics.vectors import TIE

EXCLUDED = torch.finfo(torch.float64).min  # below any score; unlike -inf, equal to itself by subtraction


@dataclass(frozen=True)
class TiedRanking:
    """The first `depth` places of each query; every entry describes the group of tied candidates at that place.

    `start` places come before the group, `size` candidates are in it (some perhaps below `depth`), `gain` is the
    sum of their gains and `gain_before` that of all candidates before the group.
    """

    start: Int[Tensor, "query depth"]
    size: Int[Tensor, "query depth"]
    gain: Float[Tensor, "query depth"]
    gain_before: Float[Tensor, "query depth"]


def tied_ranking(
    scores: Float[Tensor, "query candidate"], gains: Float[Tensor, "query candidate"], depth: int
) -> TiedRanking:
    """Rank candidates by score, highest first, and find the groups within `TIE` of their neighbour."""
    top, index = scores.topk(depth, dim=1)
    is_new = torch.ones_like(top, dtype=torch.bool)
    is_new[:, 1:] = top[:, :-1] - top[:, 1:] > TIE
    group = is_new.long().cumsum(1) - 1
    gathered = gains.gather(1, index)
    size = torch.zeros_like(index).scatter_add(1, group, torch.ones_like(index))
    gain = torch.zeros_like(gathered).scatter_add(1, group, gathered)
    before = gain.cumsum(1) - gain
    # The last group may go on below `depth`: add those of the whole row that are not among the top.
    tied, tied_top = (scores - top[:, -1:]).abs() <= TIE, top - top[:, -1:] <= TIE
    last = group[:, -1:]
    size.scatter_add_(1, last, (tied.sum(1) - tied_top.sum(1)).unsqueeze(1))
    gain.scatter_add_(1, last, ((gains * tied).sum(1) - (gathered * tied_top).sum(1)).unsqueeze(1))
    place = torch.arange(depth, device=scores.device).expand_as(index)
    start = torch.where(is_new, place, 0).cummax(1).values
    return TiedRanking(start, size.gather(1, group), gain.gather(1, group), before.gather(1, group))
