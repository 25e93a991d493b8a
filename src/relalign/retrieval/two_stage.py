"""Two-stage retrieval: the first k from the FAISS index, re-ordered by the fusion encoder's matching logit."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, Int64
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from relalign.features.batches import SplitData
from relalign.model.backbone import Backbone, Fused, Side
from relalign.model.precision import in_precision
from relalign.retrieval.embeddings import Embeddings
from relalign.retrieval.index import search_index
from relalign.settings.section import Precision

PAIRS_AT_ONCE = 8192  # whose texts' projected tokens are in memory


@dataclass(frozen=True)
class Reranked:
    """The first k candidates of each query (rows of the other side) and their matching logits."""

    candidates: Int64[NDArray[np.int64], "query k"]
    logits: Float[Tensor, "query k"]


def two_stage(
    backbone: Backbone,
    data: SplitData,
    embeddings: Embeddings,
    folder: Path,
    *,
    k: int,
    precision: Precision = "float32",
) -> tuple[Reranked, Reranked]:
    """Image to text and text to image: the first `k` (or all, if fewer) of the index, scored by fusion.

    `folder` holds the indexes of `embeddings`; `data` is the same split. A pair that both directions ask for is
    scored once. Rows of candidates are those of `embeddings`.
    """
    _, text_ids = search_index(folder / "text.faiss", embeddings.image, k=min(k, len(embeddings.text)))
    _, image_ids = search_index(folder / "image.faiss", embeddings.text, k=min(k, len(embeddings.image)))
    texts, images = (
        np.searchsorted(embeddings.text_ids, text_ids),
        np.searchsorted(embeddings.image_ids, image_ids),
    )
    pairs = np.concatenate(
        (
            np.stack((np.repeat(np.arange(len(texts)), texts.shape[1]), texts.ravel()), axis=1),
            np.stack((images.ravel(), np.repeat(np.arange(len(images)), images.shape[1])), axis=1),
        )
    )
    unique, place = np.unique(pairs, axis=0, return_inverse=True)
    logits = matching_logits(backbone, data, embeddings, unique, precision=precision)[
        torch.from_numpy(place.ravel())
    ]
    return (
        Reranked(texts, logits[: texts.size].view(texts.shape)),
        Reranked(images, logits[texts.size :].view(images.shape)),
    )


@torch.inference_mode()
def matching_logits(
    backbone: Backbone,
    data: SplitData,
    embeddings: Embeddings,
    pairs: Int64[NDArray[np.int64], "pair 2"],
    *,
    precision: Precision = "float32",
) -> Float[Tensor, " pair"]:
    """The matching logit of each pair (image row, caption row) of `embeddings`."""
    rows = torch.from_numpy(pairs)
    captions = caption_positions(data, embeddings)
    positions = torch.stack([rows[:, 0], captions[rows[:, 1]]], dim=1)
    sides = torch.from_numpy(embeddings.image), torch.from_numpy(embeddings.text)[captions.argsort()]
    logits = torch.zeros(len(rows))
    for places, fused in fused_pairs(backbone, data, *sides, positions, precision=precision):
        logits[places] = fused.matching_logit.float().cpu()
    return logits


def fused_pairs(
    backbone: Backbone,
    data: SplitData,
    image: Float[Tensor, "image width"],
    text: Float[Tensor, "caption width"],
    pairs: Int[Tensor, "pair 2"],
    *,
    precision: Precision = "float32",
) -> Iterator[tuple[Int[Tensor, " some"], Fused]]:
    """Fuse pairs (image position, caption position) in batches: each with the places in `pairs` that it answers.

    `image` and `text` are the backbone's embeddings of the split, in its order. The pairs of an image are fused
    together, and its tokens projected once; so are a text's among the pairs of the images that are taken at once.
    Memory does not grow with the data, and time grows with the pairs alone.
    """
    device = data.image_ids.device
    image, text, pairs = image.to(device), text.to(device), pairs.to(device)
    _, image_of, counts = pairs[:, 0].unique(return_inverse=True, return_counts=True)
    share_of = (counts.cumsum(0) - 1).div(PAIRS_AT_ONCE, rounding_mode="floor")[image_of]
    bar = tqdm(total=len(pairs), desc="Fusing", unit="pair", disable=None)
    for places in share_of.argsort(stable=True).split(share_of.unique(return_counts=True)[1].tolist()):
        images, from_image = pairs[places, 0].unique(return_inverse=True)
        texts, from_text = pairs[places, 1].unique(return_inverse=True)
        with in_precision(device, precision):
            image_side = backbone.project_image(Side(image[images], data.image.take(images)))
            text_side = backbone.project_text(Side(text[texts], data.text.take(texts)))
        for row, part in enumerate(from_image.argsort(stable=True).split(from_image.bincount().tolist())):
            with in_precision(device, precision):  # not around `yield`: the caller computes in its own
                one = image_side.take(torch.tensor([row], device=device))
                fused = backbone.fuse(one, text_side.take(from_text[part]))
            yield places[part], fused
            bar.update(len(part))
    bar.close()


def caption_positions(data: SplitData, embeddings: Embeddings) -> Tensor:
    """The position in `data` (captions grouped by image) of each caption row of `embeddings` (by id)."""
    ids = data.caption_ids.numpy(force=True)
    order = np.argsort(ids)
    return torch.from_numpy(order[np.searchsorted(ids, embeddings.text_ids, sorter=order)])
