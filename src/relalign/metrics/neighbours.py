"""nDCG of the neighbours of items among others of their own modality."""

from collections.abc import Sequence

from jaxtyping import Float, Int
from torch import Tensor

from relalign.metrics.ndcg import ndcg
from relalign.metrics.similarity import cosine, leave_out
from relalign.metrics.tied import EXCLUDED


def neighbour_ndcg(
    rows: Float[Tensor, "candidate width"],
    own: Int[Tensor, " query"],
    gains: Float[Tensor, "query candidate"],
    *,
    ks: Sequence[int],
    score: float = EXCLUDED,
) -> dict[int, Float[Tensor, " query"]]:
    """nDCG@k of the queries `rows[own]` over all unit `rows`, for each k; a query never is its own answer.

    `gains` is changed: the gain of the query itself becomes 0. `score` is what its similarity becomes.
    """
    scores = cosine(rows[own], rows)
    leave_out(scores, gains, own, score=score)
    return ndcg(scores, gains, ks=ks)
