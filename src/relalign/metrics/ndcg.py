"""nDCG with graded relevance, linear gain and ties in expectation."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from relalign.metrics.tied import tied_ranking


def ndcg(
    scores: Float[Tensor, "query candidate"], gains: Float[Tensor, "query candidate"], *, ks: Sequence[int]
) -> dict[int, Float[Tensor, " query"]]:
    """nDCG@k of each query in percent, for each k; NaN for a query whose gains are all zero.

    DCG@k is the sum over ranks r up to k of gain / log2(r + 1): linear gain, as in CoVLR and RVLR (methods with
    2^gain - 1 give other numbers). The ideal order is by the gains themselves. Tied candidates share the mean of
    their gains, the expectation over their orders (McSherry & Najork 2008). A candidate to leave out has score
    `tied.EXCLUDED` and gain 0. Scores must be float64.

    >>> scores, gains = torch.tensor([[0.8, 0.9, 0.1]]).double(), torch.tensor([[1.0, 0.5, 0.0]]).double()
    >>> round(ndcg(scores, gains, ks=(10,))[10].item(), 1)
    86.0
    """
    depth = min(max(ks), scores.shape[1])
    discount = 1 / torch.log2(torch.arange(2, depth + 2, dtype=torch.float64, device=scores.device))
    ranking = tied_ranking(scores, gains, depth)
    reached = (ranking.gain / ranking.size * discount).cumsum(1)
    ideal = (gains.topk(depth, dim=1).values * discount).cumsum(1)
    return {k: 100 * reached[:, min(k, depth) - 1] / ideal[:, min(k, depth) - 1] for k in ks}
