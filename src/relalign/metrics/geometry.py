"""The shape of a learned space: the gap between modalities, alignment, uniformity, neighbourhoods kept.

All functions take unit rows (float32) and compute in float64, block by block.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from relalign.metrics.similarity import cosine, leave_out, query_blocks
from relalign.metrics.tied import EXCLUDED
from relalign.metrics.vectors import TIE


def modality_gap(image: Float[Tensor, "image width"], text: Float[Tensor, "caption width"]) -> float:
    """Euclidean distance between the mean image and the mean caption vector (Liang et al. 2022), in [0, 2]."""
    return float((image.double().mean(0) - text.double().mean(0)).norm())


def alignment(image: Float[Tensor, "pair width"], text: Float[Tensor, "pair width"]) -> Float[Tensor, " pair"]:
    """Squared distance of each matching pair (Wang & Isola 2020, alpha = 2), in [0, 4]; 0 is perfect."""
    return (image.double() - text.double()).square().sum(1)


def uniformity(rows: Float[Tensor, "row width"]) -> float:
    """log of the mean of exp(-2 |u - v|^2) over all pairs of different rows (Wang & Isola 2020, t = 2), at most 0.

    Lower is more uniform; rows that all coincide give 0. Needs at least two rows.
    """
    total = 0.0
    for block in query_blocks(len(rows), len(rows)):
        scores = cosine(rows[block], rows)
        total += float(torch.exp(4 * (scores - 1)).sum())
    return float(torch.tensor((total - len(rows)) / (len(rows) * (len(rows) - 1)), dtype=torch.float64).log())


def neighbours_kept(
    learned: Float[Tensor, "row width"],
    teacher: Float[Tensor, "row teacher_width"],
    queries: Int[Tensor, " query"],
    *,
    k: int,
) -> Float[Tensor, " query"]:
    """Percent of the k nearest neighbours in the teacher's space that are so in the learned space, for each query.

    Neighbours of row `queries[q]` are sought among all rows but itself, by cosine in both spaces. Where several
    candidates tie for the last places, each counts with the probability of being drawn. A random space keeps
    100 k / (rows - 1) percent. At most rows - 1 neighbours are compared.
    """
    depth = min(k, len(learned) - 1)
    kept = []
    for block in query_blocks(len(queries), len(learned)):
        own = queries[block]
        shares = [_share_among_nearest(rows, own, depth) for rows in (learned, teacher)]
        kept.append(100 * (shares[0] * shares[1]).sum(1) / depth)
    return torch.cat(kept)


def _share_among_nearest(
    rows: Float[Tensor, "row width"], own: Int[Tensor, " query"], depth: int
) -> Float[Tensor, "query row"]:
    """The probability of each row to be among the nearest: 1 above the last place's score, shared at it."""
    scores = cosine(rows[own], rows)
    leave_out(scores, torch.zeros_like(scores), own, score=EXCLUDED)
    last = scores.topk(depth, dim=1).values[:, -1:]
    above, tied = scores > last + TIE, (scores - last).abs() <= TIE
    left = depth - above.sum(1, keepdim=True)
    return above.double() + tied.double() * left / tied.sum(1, keepdim=True)
