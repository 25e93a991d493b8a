"""mAP@R and R-Precision: how many of the R relevant candidates are among the first R, and how early."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from relalign.metrics.tied import tied_ranking


@dataclass(frozen=True)
class PrecisionAtR:
    """Percent, an entry a query; NaN for a query without relevant candidates."""

    mean_average_precision: Float[Tensor, " query"]
    r_precision: Float[Tensor, " query"]


def precision_at_r(
    scores: Float[Tensor, "query candidate"], relevant: Bool[Tensor, "query candidate"]
) -> PrecisionAtR:
    """mAP@R = (1/R) sum over ranks i up to R of [i is relevant] * precision at i; R-Precision = precision at R.

    R is the query's number of relevant candidates (Musgrave, Belongie & Lim 2020; ECCV Caption). Over the orders
    of a group of n tied candidates, r of them relevant, with c relevant ones before it, place p of the group is
    relevant with probability r/n, and then (p - 1)(r - 1)/(n - 1) of the earlier ones of the group are, on
    average. A candidate to leave out has score `tied.EXCLUDED` and is not relevant. Scores must be float64.

    >>> found = precision_at_r(torch.tensor([[0.9, 0.8, 0.7]]).double(), torch.tensor([[True, False, True]]))
    >>> found.mean_average_precision.item(), found.r_precision.item()
    (50.0, 50.0)
    """
    wanted = relevant.sum(1)
    depth = int(wanted.max().clamp(min=1))
    ranking = tied_ranking(scores, relevant.double(), depth)
    rank = torch.arange(1, depth + 1, dtype=torch.float64, device=scores.device)
    counted = (rank <= wanted.unsqueeze(1)).double()
    is_relevant = ranking.gain / ranking.size * counted
    earlier = (rank - 1 - ranking.start) * (ranking.gain - 1) / (ranking.size - 1).clamp(min=1)
    precision = (ranking.gain_before + 1 + earlier) / rank
    return PrecisionAtR(
        100 * (is_relevant * precision).sum(1) / wanted.double(), 100 * is_relevant.sum(1) / wanted.double()
    )
