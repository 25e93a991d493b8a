"""Ranking: a pair that belongs together must outscore pairs that do not by a margin."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from relalign.errors import RelalignError


def hardest_negatives(
    scores: Float[Tensor, "query candidate"], *, admissible: Bool[Tensor, "query candidate"], count: int
) -> Int[Tensor, "query {count}"]:
    """The `count` highest-scoring admissible candidates of each query, without gradient; ties in any order.

    IAIS scores 399 random candidates without gradient and keeps 31. Raises `RelalignError` if a query has
    fewer than `count` admissible candidates.
    """
    if bool((admissible.sum(dim=1) < count).any()):
        raise RelalignError(
            f"A batch has a query with fewer than {count} candidates of other images. "
            "Raise training.batch_size or lower the number of negatives."
        )
    return scores.detach().masked_fill(~admissible, -torch.inf).topk(count, dim=1).indices


def sigmoid_triplet_loss(
    positive: Float[Tensor, " query"], negative: Float[Tensor, "query negative"], *, margin: float = 0.2
) -> Float[Tensor, ""]:
    """Mean over all negatives of `max(0, margin + sigmoid(negative) - sigmoid(positive))` (IAIS, UNITER-hn)."""
    return (margin + negative.sigmoid() - positive.sigmoid()[:, None]).relu().mean()


def in_batch_triplet_loss(
    scores: Float[Tensor, "batch batch"],
    *,
    ids: Int[Tensor, " batch"],
    margin: float = 0.2,
    hardest: bool = True,
) -> Float[Tensor, ""]:
    """Margin loss of the diagonal of `scores` (cosines) against the rest of its row and of its column.

    Entries of equal ids are no negatives. `hardest` keeps each row's and column's largest violation (VSE++'s
    max of hinges), otherwise all are summed; the result is the mean over the batch of both directions' sum.
    Where a row has no negative its loss is 0.
    """
    violation = torch.stack([margin + scores - scores.diagonal()[:, None], margin + scores - scores.diagonal()])
    violation = violation.relu().masked_fill(ids[:, None] == ids[None, :], 0.0)
    over_columns, over_rows = violation[0], violation[1].T
    if hardest:
        return (over_columns.amax(dim=1) + over_rows.amax(dim=1)).mean()
    return (over_columns.sum(dim=1) + over_rows.sum(dim=1)).mean()
