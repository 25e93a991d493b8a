"""What a metric hands on: a value a query, with the image each query is resampled with."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

MEDIAN = "median_rank"
SUM = "rsum"


@dataclass(frozen=True)
class Measurement:
    """One metric over the queries of a run.

    `image_ids` is the image a query belongs to: captions of one image are not independent, so intervals and
    tests resample images. Values are percent where the metric is one.
    """

    name: str
    query_ids: Int[NDArray[np.int64], " query"]
    image_ids: Int[NDArray[np.int64], " query"]
    values: Float[NDArray[np.float64], " query"]

    @property
    def value(self) -> float:
        """The metric: the mean over queries, or the median for a median rank."""
        return float(np.median(self.values) if statistic(self.name) == "median" else np.mean(self.values))


def statistic(name: str) -> Literal["mean", "median"]:
    """How a metric summarises its queries, told by its name: `i2t/median_rank` is a median, all others means."""
    return "median" if name.endswith(MEDIAN) else "mean"


def recall_parts(name: str, known: list[str]) -> list[str]:
    """The recalls a sum of recalls adds up, in the order of `known`; nothing for any other metric.

    >>> recall_parts("rerank/rsum", ["i2t/recall@1", "rerank/i2t/recall@1", "rerank/t2i/recall@1", "rsum"])
    ['rerank/i2t/recall@1', 'rerank/t2i/recall@1']
    """
    prefix, _, last = name.rpartition("/")
    if last != SUM:
        return []
    starts = tuple(f"{prefix}/{side}/recall@".lstrip("/") for side in ("i2t", "t2i"))
    return [candidate for candidate in known if candidate.startswith(starts)]
