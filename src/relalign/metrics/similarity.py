"""Blocks of exact cosine similarities, so that no score matrix is ever whole in memory."""

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

from relalign.metrics.tied import EXCLUDED

NUMBERS_AT_ONCE = 4_000_000  # of float64: 32 MB a block


def query_blocks(queries: int, candidates: int) -> Iterator[slice]:
    """Slices of queries such that a block of scores against all candidates stays small."""
    rows = max(1, NUMBERS_AT_ONCE // max(candidates, 1))
    for start in range(0, queries, rows):
        yield slice(start, min(start + rows, queries))


def cosine(
    query: Float[Tensor, "query width"], gallery: Float[Tensor, "candidate width"]
) -> Float[Tensor, "query candidate"]:
    """Dot products of unit rows in float64, in which float32 rows lose nothing."""
    return query.double() @ gallery.double().T


def leave_out(
    scores: Float[Tensor, "query candidate"],
    gains: Float[Tensor, "query candidate"],
    own: Int[Tensor, " query"],
    *,
    score: float = EXCLUDED,
) -> None:
    """Take candidate `own[q]` out of the ranking of query q, in place: lowest score and no gain.

    The released protocol of CoVLR and RVLR uses score 0 instead, which lets it beat negative similarities.
    """
    rows = torch.arange(len(own), device=scores.device)
    scores[rows, own] = score
    gains[rows, own] = 0
