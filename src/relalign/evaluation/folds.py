"""The COCO 1K protocols: the mean over five folds of 1,000 images, and the first 1,000 alone."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from relalign.errors import RelalignError
from relalign.evaluation.cross_modal import measure_recall
from relalign.metrics.measurement import Measurement
from relalign.retrieval.embeddings import Embeddings


def measure_folds(
    embeddings: Embeddings, order: NDArray[np.int64], *, size: int, ks: Sequence[int]
) -> list[Measurement]:
    """`folds<size>/...` over consecutive folds of `size` images, and `first<size>/...` of the first fold.

    Each query sees the candidates of its own fold only. VSE++, SCAN and their successors report the former for
    COCO 1K; X-VLM's and CoVLR's scripts the latter, which is another number. `order` lists the rows of images in
    the order that cuts the folds (in published work that of Karpathy's file). Folds have recalls and mean ranks;
    their medians differ by convention and are left out. A number of images that `size` does not divide is a
    `RelalignError`.
    """
    if len(embeddings.image) % size or len(embeddings.image) < 2 * size:
        raise RelalignError(
            f"{len(embeddings.image)} test images cannot be cut into two or more folds of {size}. "
            "Set evaluate.fold_size to 0, or to a number that divides them."
        )
    folds = [
        [
            item
            for item in measure_recall(_subset(embeddings, order[start : start + size]), ks=ks)
            if not item.name.endswith("median_rank")
        ]
        for start in range(0, len(order), size)
    ]
    first = [_renamed(f"first{size}/", [item]) for item in folds[0]]
    return [_renamed(f"folds{size}/", items) for items in zip(*folds, strict=True)] + first


def _subset(embeddings: Embeddings, images: NDArray[np.int64]) -> Embeddings:
    rows = np.sort(images)
    captions = np.isin(embeddings.text_to_image, rows)
    return Embeddings(
        embeddings.image[rows],
        embeddings.text[captions],
        embeddings.image_ids[rows],
        embeddings.text_ids[captions],
        embeddings.text_image_ids[captions],
    )


def _renamed(prefix: str, items: Sequence[Measurement]) -> Measurement:
    """The queries of the same metric of several folds together: as all folds have as many images, their mean."""
    return Measurement(
        prefix + items[0].name,
        np.concatenate([item.query_ids for item in items]),
        np.concatenate([item.image_ids for item in items]),
        np.concatenate([item.values for item in items]),
    )
