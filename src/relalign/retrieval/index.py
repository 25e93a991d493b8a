"""FAISS indexes beside the embeddings, so that a search needs nothing but the folder.

Exact inner-product search (`Flat`): at the size of these benchmarks it is the right index (an approximate one
pays off from some hundred thousand rows on).
"""

from pathlib import Path

import faiss
import numpy as np
from jaxtyping import Float32, Int64
from numpy.typing import NDArray

from relalign.errors import RelalignError


def write_index(
    path: Path, vectors: Float32[NDArray[np.float32], "row width"], ids: Int64[NDArray[np.int64], " row"]
) -> None:
    """Write an exact inner-product index that answers with the given ids."""
    index = faiss.IndexIDMap2(faiss.IndexFlatIP(vectors.shape[1]))
    index.add_with_ids(np.ascontiguousarray(vectors), ids)
    faiss.write_index(index, str(path))


def search_index(
    path: Path, queries: Float32[NDArray[np.float32], "query width"], *, k: int
) -> tuple[Float32[NDArray[np.float32], "query k"], Int64[NDArray[np.int64], "query k"]]:
    """Scores and ids of the k best rows of an index for each query, best first; fewer rows than k is an error."""
    index = faiss.read_index(str(path))
    if k > index.ntotal:
        raise RelalignError(f"{path} holds {index.ntotal} rows, fewer than the {k} asked for. Lower k.")
    scores, ids = index.search(np.ascontiguousarray(queries), k)
    return scores, ids
