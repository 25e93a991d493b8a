"""An index over embeddings, chosen by size: exact as long as that is quick, above it lists (IVF).

An approximate index is tuned until it finds nearly all that the exact one finds, and says how much that is.
"""

import logging
from dataclasses import dataclass
from math import sqrt
from typing import Any

import faiss
import numpy as np
from jaxtyping import Float32, Int64
from numpy.typing import NDArray

EXACT_BELOW = 100_000
WANTED_RECALL, RECALL_AT, ASKED = 0.99, 10, 200
ROWS_A_LIST = 64  # for training: more make no better centres

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SearchIndex:
    """An inner-product index over rows, with what it is and how much of the exact answer it finds."""

    index: Any
    kind: str
    recall: float

    def nearest(
        self, queries: Float32[NDArray[np.float32], "query width"], k: int
    ) -> tuple[Float32[NDArray[np.float32], "query k"], Int64[NDArray[np.int64], "query k"]]:
        """Scores and row numbers of the best `k` rows (or all, if fewer), best first; -1 stands for no row."""
        scores, rows = self.index.search(np.ascontiguousarray(queries), min(k, self.index.ntotal))
        return scores, rows


def number_of_lists(rows: int) -> int:
    """The power of two next to 4 sqrt(rows), as FAISS's guidelines have it."""
    return int(2 ** round(np.log2(4 * sqrt(rows))))


def build_index(
    vectors: Float32[NDArray[np.float32], "row width"],
    others: Float32[NDArray[np.float32], "other width"],
    *,
    exact_below: int = EXACT_BELOW,
) -> SearchIndex:
    """An exact index of fewer than `exact_below` rows, else one of inverted lists.

    Of the latter so many lists are searched that 99 % of the exact first 10 are found, of 200 of the rows and of
    200 of `others`, the vectors of the other modality: texts lie apart from images, and meet other lists. The
    lower of the two is the recall. Seeded: equal vectors give equal answers.
    """
    exact = faiss.IndexFlatIP(vectors.shape[1])
    exact.add(vectors)
    if len(vectors) < exact_below:
        return SearchIndex(exact, "Flat", 1.0)
    lists = number_of_lists(len(vectors))
    index = faiss.IndexIVFFlat(
        faiss.IndexFlatIP(vectors.shape[1]), vectors.shape[1], lists, faiss.METRIC_INNER_PRODUCT
    )
    index.cp.max_points_per_centroid = ROWS_A_LIST
    index.train(vectors)
    index.add(vectors)
    asked = [_some(vectors), _some(others)]
    right = [exact.search(queries, RECALL_AT)[1] for queries in asked]
    recall, index.nprobe = 0.0, 1
    while recall < WANTED_RECALL and index.nprobe < lists:
        index.nprobe *= 2
        found = [index.search(queries, RECALL_AT)[1] for queries in asked]
        recall = min(_share_found(*both) for both in zip(right, found, strict=True))
    log.info(
        "IVF over %d rows: %d of %d lists searched, recall@10 %.3f of exact search (%d queries, %d threads)",
        *(len(vectors), index.nprobe, lists, recall, sum(map(len, asked)), faiss.omp_get_max_threads()),
    )
    return SearchIndex(index, f"IVF, {index.nprobe} of {lists} lists", recall)


def _some(vectors: Float32[NDArray[np.float32], "row width"]) -> Float32[NDArray[np.float32], "query width"]:
    chosen = np.random.default_rng(0).choice(len(vectors), size=min(ASKED, len(vectors)), replace=False)
    return vectors[chosen]


def _share_found(right: Int64[NDArray[np.int64], "query k"], found: Int64[NDArray[np.int64], "query k"]) -> float:
    """How much of the right rows is found; 1 where nothing is asked."""
    if not len(right):
        return 1.0
    return float(np.mean([np.isin(row, other).mean() for row, other in zip(right, found, strict=True)]))
