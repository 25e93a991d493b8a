"""How good a teacher is within its own modality: nDCG@10 on the validation split, as the evaluation defines it."""

import numpy as np
import torch
from jaxtyping import Float, Int64
from numpy.typing import NDArray
from torch import Tensor

from relalign.evaluation.relevance_files import Relevance
from relalign.metrics.neighbours import neighbour_ndcg
from relalign.metrics.similarity import query_blocks
from relalign.metrics.vectors import unit_rows

NDCG_AT = 10
METRICS = {"image": f"i2i/ndcg@{NDCG_AT}", "text": f"t2t/ndcg@{NDCG_AT}"}


def single_modal_ndcg(
    side: str,
    vectors: Float[Tensor, "row width"],
    relevance: Relevance,
    image_of_caption: Int64[NDArray[np.int64], " caption"],
) -> float:
    """i2i (`side` "image") or t2t nDCG@10 of the vectors of all images or captions, in the order of `relevance`.

    `image_of_caption` has the column of each caption's image. Queries are the images, or the first caption of each
    (`relalign.evaluation.single_modal`); those to which nothing is relevant are left out.
    """
    ids = relevance.image_ids if side == "image" else relevance.caption_ids
    rows = unit_rows(vectors, f"{side} vectors of the teacher", ids).cpu()
    captioned, first_caption = np.unique(image_of_caption, return_index=True)
    found = []
    for block in query_blocks(len(captioned), len(rows)):
        if side == "image":
            own, gains = captioned[block], relevance.matrix[first_caption[block]]
        else:
            own, gains = first_caption[block], relevance.matrix[:, captioned[block]].T
        gain = torch.from_numpy(gains.astype(np.float64))
        found.append(neighbour_ndcg(rows, torch.from_numpy(own), gain, ks=(NDCG_AT,))[NDCG_AT])
    return torch.cat(found).nanmean().item()
