"""Exact ranks of the relevant candidates, by counting in blocks: no sort, and never the whole score matrix.

Each block of similarities is computed once and serves both directions. Counting is done in float32 against a
band around the relevant score that is wider than float32's rounding; only where another candidate falls within
the band is the row recomputed in float64. So ranks are those of the exact dot products, on any machine, with
any number of threads, for any order of the candidates.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from relalign.metrics.vectors import TIE, rounding_band

BLOCK_ROWS = 1024
BLOCK_COLUMNS = 2048


@dataclass(frozen=True)
class TieGroup:
    """Where the best relevant candidate of each query stands.

    `above` candidates score higher; it shares its score with `tied` irrelevant and, itself included,
    `relevant` relevant candidates. A query without any relevant candidate has `relevant` 0.
    """

    above: Int[Tensor, "q"]
    tied: Int[Tensor, "q"]
    relevant: Int[Tensor, "q"]

    def expected_rank(self) -> Float[Tensor, "q"]:
        """The mean over random orders of the tied of the best relevant candidate's rank, counted from 1.

        The least of r places drawn from n is (n + 1) / (r + 1) on average: alone it is above + 1; among 4
        equals with one relevant it is above + 2.5.
        """
        total = (self.tied + self.relevant).double()
        return self.above.double() + (total + 1) / (self.relevant.double() + 1)

    def hit(self, k: int) -> Float[Tensor, "q"]:
        """The probability that a relevant candidate is among the first `k`, over random orders of the tied."""
        places = (k - self.above).clamp(min=0)
        total = self.tied + self.relevant
        miss = torch.ones_like(self.above, dtype=torch.float64)
        for drawn in range(k):
            step = (self.tied - drawn).clamp(min=0).double() / (total - drawn).clamp(min=1).double()
            miss = torch.where(drawn < places, miss * step, miss)
        return 1 - miss


def pair_scores(
    left: Float[Tensor, "p d"], right: Float[Tensor, "p d"], *, chunk: int = 8192
) -> Float[Tensor, "p"]:
    """Exact (float64) dot products of corresponding rows."""
    parts = [(a.double() * b.double()).sum(1) for a, b in zip(left.split(chunk), right.split(chunk), strict=True)]
    return torch.cat(parts) if parts else left.new_zeros(0, dtype=torch.float64)


class _Counter:
    """Counts, for queries on one axis of the score blocks, the irrelevant candidates above and tied."""

    def __init__(self, target: Float[Tensor, "q"], axis: int, band: float) -> None:
        self.target = target
        self.axis = axis
        self.low = (target - band).float()
        self.high = (target + band).float()
        self.above = torch.zeros_like(target, dtype=torch.int64)
        self.tied = torch.zeros_like(target, dtype=torch.int64)

    def add(
        self,
        scores: Float[Tensor, "n m"],
        queries: slice,
        query_rows: Float[Tensor, "b d"],
        candidate_rows: Float[Tensor, "c d"],
        relevant: Int[Tensor, "2 p"],
    ) -> None:
        """Add a block; relevant pairs (query, candidate within the block) stand at -inf in `scores`."""
        low, high = self.low[queries].unsqueeze(self.axis), self.high[queries].unsqueeze(self.axis)
        above = (scores > high).sum(self.axis)
        unsure = torch.nonzero((scores > low).sum(self.axis) > above).squeeze(1)
        if len(unsure):
            exact = query_rows[unsure].double() @ candidate_rows.double().T
            place = torch.full((len(query_rows),), -1, device=scores.device)
            place[unsure] = torch.arange(len(unsure), device=scores.device)
            kept = place[relevant[0]] >= 0
            exact[place[relevant[0][kept]], relevant[1][kept]] = -torch.inf
            target = self.target[queries][unsure].unsqueeze(1)
            above[unsure] = (exact > target + TIE).sum(1)
            self.tied[queries][unsure] += ((exact - target).abs() <= TIE).sum(1)
        self.above[queries] += above


def cross_modal_ranks(
    image: Float[Tensor, "n d"], text: Float[Tensor, "m d"], text_to_image: Int[Tensor, "m"]
) -> tuple[TieGroup, TieGroup]:
    """Tie groups of the best caption of each image and of the image of each caption; rows must be unit rows.

    Time O(n m d), memory of one block of scores. Images without a caption are candidates but have no rank
    (`relevant` 0).
    """
    band = rounding_band(image.shape[1])
    pair = pair_scores(image[text_to_image], text) if len(text) else text.new_zeros(0, dtype=torch.float64)
    best = pair.new_full((len(image),), -torch.inf).scatter_reduce(0, text_to_image, pair, "amax")
    as_good = (pair >= best[text_to_image] - TIE).long()
    i2t, t2i = _Counter(best, 1, band), _Counter(pair, 0, band)
    for i in range(0, len(image), BLOCK_ROWS):
        rows = slice(i, min(i + BLOCK_ROWS, len(image)))
        for j in range(0, len(text), BLOCK_COLUMNS):
            columns = slice(j, min(j + BLOCK_COLUMNS, len(text)))
            owner = text_to_image[columns] - i
            column = torch.nonzero((owner >= 0) & (owner < rows.stop - i)).squeeze(1)
            row = owner[column]
            scores = image[rows] @ text[columns].T
            scores[row, column] = -torch.inf
            i2t.add(scores, rows, image[rows], text[columns], torch.stack((row, column)))
            t2i.add(scores, columns, text[columns], image[rows], torch.stack((column, row)))
    relevant = torch.zeros_like(i2t.above).scatter_add(0, text_to_image, as_good)
    return (
        TieGroup(above=i2t.above, tied=i2t.tied, relevant=relevant),
        TieGroup(above=t2i.above, tied=t2i.tied, relevant=torch.ones_like(t2i.above)),
    )
