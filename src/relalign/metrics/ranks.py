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
from relalign.system.ordered_pool import map_on_cores

BLOCK_ROWS = 512
BLOCK_COLUMNS = 2048


@dataclass(frozen=True)
class TieGroup:
    """Where the best relevant candidate of each query stands.

    `above` candidates score higher; it shares its score with `tied` irrelevant and, itself included,
    `relevant` relevant candidates. A query without any relevant candidate has `relevant` 0.
    """

    above: Int[Tensor, " q"]
    tied: Int[Tensor, " q"]
    relevant: Int[Tensor, " q"]

    def expected_rank(self) -> Float[Tensor, " q"]:
        """The mean over random orders of the tied of the best relevant candidate's rank, counted from 1.

        The least of r places drawn from n is (n + 1) / (r + 1) on average: alone it is above + 1; among 4
        equals with one relevant it is above + 2.5.
        """
        total = (self.tied + self.relevant).double()
        return self.above.double() + (total + 1) / (self.relevant.double() + 1)

    def hit(self, k: int) -> Float[Tensor, " q"]:
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
) -> Float[Tensor, " p"]:
    """Exact (float64) dot products of corresponding rows."""
    parts = [(a.double() * b.double()).sum(1) for a, b in zip(left.split(chunk), right.split(chunk), strict=True)]
    return torch.cat(parts) if parts else left.new_zeros(0, dtype=torch.float64)


@dataclass(frozen=True)
class _Targets:
    """The score that each query's candidates are counted against, and the float32 band around it."""

    exact: Float[Tensor, " query"]
    low: Float[Tensor, " query"]
    high: Float[Tensor, " query"]

    @classmethod
    def around(cls, exact: Float[Tensor, " query"], band: float) -> "_Targets":
        return cls(exact, (exact - band).float(), (exact + band).float())

    def part(self, queries: slice) -> "_Targets":
        return _Targets(self.exact[queries], self.low[queries], self.high[queries])


def _count(
    scores: Float[Tensor, "row column"],
    axis: int,
    targets: _Targets,
    query_rows: Float[Tensor, "query width"],
    candidate_rows: Float[Tensor, "candidate width"],
    relevant: Int[Tensor, "2 pair"],
) -> Int[Tensor, "2 query"]:
    """How many irrelevant candidates (along `axis`) score above and how many tie with each query's target.

    Relevant pairs (query, candidate) stand at -inf in `scores`. Queries with another candidate within the band
    are counted again from exact scores.
    """
    above = (scores > targets.high.unsqueeze(axis)).sum(axis)
    tied = torch.zeros_like(above)
    unsure = torch.nonzero((scores > targets.low.unsqueeze(axis)).sum(axis) > above).squeeze(1)
    if len(unsure):
        exact = query_rows[unsure].double() @ candidate_rows.double().T
        place = torch.full((len(query_rows),), -1, device=scores.device)
        place[unsure] = torch.arange(len(unsure), device=scores.device)
        kept = place[relevant[0]] >= 0
        exact[place[relevant[0][kept]], relevant[1][kept]] = -torch.inf
        target = targets.exact[unsure].unsqueeze(1)
        above[unsure] = (exact > target + TIE).sum(1)
        tied[unsure] = ((exact - target).abs() <= TIE).sum(1)
    return torch.stack((above, tied))


def cross_modal_ranks(
    image: Float[Tensor, "image width"],
    text: Float[Tensor, "caption width"],
    text_to_image: Int[Tensor, " caption"],
) -> tuple[TieGroup, TieGroup]:
    """Tie groups of the best caption of each image and of the image of each caption; rows must be unit rows.

    Time O(images captions width), memory of one block of scores a core. Blocks go to as many cores as torch
    uses; counts are whole numbers, so the result does not depend on it. Images without a caption are
    candidates but have no rank (`relevant` 0).
    """
    band = rounding_band(image.shape[1])
    pair = pair_scores(image[text_to_image], text)
    best = pair.new_full((len(image),), -torch.inf).scatter_reduce(0, text_to_image, pair, "amax")
    as_good = (pair >= best[text_to_image] - TIE).long()
    i2t_targets, t2i_targets = _Targets.around(best, band), _Targets.around(pair, band)

    def block_of_images(rows: slice) -> tuple[Tensor, Tensor]:
        i2t, t2i = [], []
        for start in range(0, len(text), BLOCK_COLUMNS):
            columns = slice(start, min(start + BLOCK_COLUMNS, len(text)))
            owner = text_to_image[columns] - rows.start
            column = torch.nonzero((owner >= 0) & (owner < rows.stop - rows.start)).squeeze(1)
            row = owner[column]
            scores = image[rows] @ text[columns].T
            scores[row, column] = -torch.inf
            sides = image[rows], text[columns]
            i2t.append(_count(scores, 1, i2t_targets.part(rows), *sides, torch.stack((row, column))))
            t2i.append(_count(scores, 0, t2i_targets.part(columns), *sides[::-1], torch.stack((column, row))))
        return torch.stack(i2t).sum(0), torch.cat(t2i, dim=1)

    blocks = [slice(i, min(i + BLOCK_ROWS, len(image))) for i in range(0, len(image), BLOCK_ROWS)]
    cores = min(torch.get_num_threads(), len(blocks)) if image.device.type == "cpu" else 1
    found = map_on_cores(block_of_images, blocks, cores=cores) if cores > 1 else map(block_of_images, blocks)
    by_image, by_caption = [], torch.zeros(2, len(text), dtype=torch.int64, device=text.device)
    for i2t, t2i in found:
        by_image.append(i2t)
        by_caption += t2i
    above, tied = torch.cat(by_image, dim=1)
    relevant = torch.zeros_like(above).scatter_add(0, text_to_image, as_good)
    return TieGroup(above, tied, relevant), TieGroup(by_caption[0], by_caption[1], torch.ones_like(by_caption[0]))
