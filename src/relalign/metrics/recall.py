"""Cross-modal recall and ranks: image to text and text to image, any number of captions an image."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Integer, Shaped
from torch import Tensor

from relalign.errors import RelalignError
from relalign.metrics.ranks import TieGroup, cross_modal_ranks
from relalign.metrics.vectors import Array, unit_rows


@dataclass(frozen=True)
class Direction:
    """One direction of retrieval; arrays hold an entry a query.

    `recall[k]` is in percent, the mean of `hits[k]`; ranks count from 1. `queries` are the row numbers of the
    queries (images without captions ask nothing). Tied candidates: see `relalign.metrics.vectors`.
    """

    queries: np.ndarray
    recall: dict[int, float]
    hits: dict[int, np.ndarray]
    ranks: np.ndarray
    median_rank: float
    mean_rank: float


@dataclass(frozen=True)
class RecallReport:
    """Both directions and `rsum`, the sum of all their recalls (six with the usual three cut-offs)."""

    i2t: Direction
    t2i: Direction
    rsum: float

    def metrics(self) -> dict[str, float]:
        """Flat names as in metrics.json: `i2t/recall@1`, ..., `t2i/mean_rank`, `rsum`."""
        flat = {"rsum": self.rsum}
        for name, side in (("i2t", self.i2t), ("t2i", self.t2i)):
            flat |= {f"{name}/recall@{k}": value for k, value in side.recall.items()}
            flat |= {f"{name}/median_rank": side.median_rank, f"{name}/mean_rank": side.mean_rank}
        return flat


def recall(
    image: Shaped[Array, "n _"],
    text: Shaped[Array, "m _"],
    text_to_image: Integer[Array, " _"],
    *,
    ks: Sequence[int] = (1, 5, 10),
    image_ids: Integer[Array, " n"] | None = None,
    text_ids: Integer[Array, " m"] | None = None,
) -> RecallReport:
    """R@K in percent, median and mean rank by cosine similarity, over the full ranking of all candidates.

    An image's rank is that of its best caption, a caption's that of its image (the protocol of Karpathy and
    VSE++). `text_to_image[j]` is the row in `image` of caption j. The n x m matrix is never in memory; each block
    of it is computed once for both directions. Raises `RelalignError` on wrong shapes or dtypes, on a
    `text_to_image` outside the images, and on rows that are not finite or have length zero, naming their ids.

    >>> report = recall(np.eye(2), np.array([[1.0, 0.1], [1.0, 0.2]]), np.array([0, 1]), ks=(1,))
    >>> report.i2t.recall[1], report.t2i.recall[1], report.t2i.ranks.tolist()
    (100.0, 50.0, [1.0, 2.0])
    """
    images, texts = unit_rows(image, "image embeddings", image_ids), unit_rows(text, "text embeddings", text_ids)
    owner = torch.as_tensor(text_to_image).to(images.device, torch.int64)
    _check(images, texts, owner, ks)
    return report_of(*cross_modal_ranks(images, texts.to(images.device), owner), ks=ks)


def report_of(i2t: TieGroup, t2i: TieGroup, *, ks: Sequence[int]) -> RecallReport:
    """The report of known ranks, for example of two-stage retrieval."""
    directions = _direction(i2t, ks), _direction(t2i, ks)
    return RecallReport(*directions, rsum=sum(value for side in directions for value in side.recall.values()))


def _check(image: Tensor, text: Tensor, owner: Tensor, ks: Sequence[int]) -> None:
    if not len(image) or not len(text):
        raise RelalignError(f"Nothing to rank: {len(image)} images and {len(text)} captions.")
    if image.shape[1] != text.shape[1]:
        raise RelalignError(
            f"Image embeddings have {image.shape[1]} columns and text embeddings {text.shape[1]}; "
            "both must lie in one space."
        )
    if len(owner) != len(text):
        raise RelalignError(f"text_to_image has {len(owner)} entries for {len(text)} captions.")
    if owner.min() < 0 or owner.max() >= len(image):
        wrong = torch.nonzero((owner < 0) | (owner >= len(image)))[0].item()
        raise RelalignError(
            f"text_to_image[{wrong}] is {owner[int(wrong)].item()}, but there are {len(image)} images."
        )
    if min(ks, default=0) < 1:
        raise RelalignError(f"Recall needs cut-offs of at least 1, got {list(ks)}.")


def _direction(group: TieGroup, ks: Sequence[int]) -> Direction:
    asked = group.relevant > 0
    hits = {k: 100 * _numpy(group.hit(k)[asked]) for k in ks}
    ranks = _numpy(group.expected_rank()[asked])
    return Direction(
        queries=_numpy(torch.nonzero(asked).squeeze(1)),
        recall={k: float(hit.mean()) for k, hit in hits.items()},
        hits=hits,
        ranks=ranks,
        median_rank=float(np.median(ranks)),
        mean_rank=float(ranks.mean()),
    )


def _numpy(tensor: Float[Tensor, " q"] | Integer[Tensor, " q"]) -> np.ndarray:
    return tensor.cpu().numpy()
