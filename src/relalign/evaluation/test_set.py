"""One embedded test split with its relevance judgements, in the form in which the measurements use it."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from numpy.typing import NDArray
from torch import Tensor

from relalign.errors import RelalignError
from relalign.metrics.vectors import unit_rows
from relalign.retrieval.embeddings import Embeddings
from relalign.retrieval.relevance_files import Relevance


@dataclass(frozen=True)
class GradedTestSet:
    """Checked unit rows, their relevance matrix, and the first caption of each captioned image.

    `captioned` are the rows of images that have captions; `first_caption[q]` is the row of the first caption
    (that of the lowest id) of image `captioned[q]`. Both queries of single-modal retrieval are these N.
    """

    embeddings: Embeddings
    image: Float[Tensor, "image width"]
    text: Float[Tensor, "caption width"]
    relevance: NDArray[np.float32]
    captioned: Int64[NDArray[np.int64], " query"]
    first_caption: Int64[NDArray[np.int64], " query"]

    def image_relevance(self, queries: slice) -> Float[Tensor, "query image"]:
        """How relevant each image is to the first caption of the queries' images."""
        return torch.from_numpy(self.relevance[self.first_caption[queries]].astype(np.float64))

    def caption_relevance(self, queries: slice) -> Float[Tensor, "query caption"]:
        """How relevant each caption is to the queries' images."""
        return torch.from_numpy(self.relevance[:, self.captioned[queries]].T.astype(np.float64))


def graded_test_set(embeddings: Embeddings, relevance: Relevance) -> GradedTestSet:
    """Join embeddings and judgements; rows of other ids, or in another order, are a `RelalignError`."""
    for what, ids, judged in (
        ("images", embeddings.image_ids, relevance.image_ids),
        ("captions", embeddings.text_ids, relevance.caption_ids),
    ):
        if not np.array_equal(ids, judged):
            odd = np.setxor1d(ids, judged)[:5].tolist()
            raise RelalignError(
                f"The embedded {what} are not those of the relevance matrix "
                f"({f'ids {odd} are in one of them only' if odd else 'their order differs'}). "
                "Make the relevance matrix and the embeddings from the same pairs table."
            )
    captioned, first_caption = np.unique(embeddings.text_to_image, return_index=True)
    return GradedTestSet(
        embeddings,
        unit_rows(embeddings.image, "image embeddings", embeddings.image_ids),
        unit_rows(embeddings.text, "text embeddings", embeddings.text_ids),
        relevance.matrix,
        captioned,
        first_caption,
    )
