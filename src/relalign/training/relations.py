"""What training does to relations within a modality, on the validation split, as the evaluation defines it.

The premise of all three papers is that matching damages them. So two spaces are measured at each validation: that
of the encoders as they are trained (at the start, the pretrained ones) and the shared one.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from numpy.typing import NDArray
from torch import Tensor

from relalign.features.batches import SplitData
from relalign.layout import Layout
from relalign.metrics.geometry import neighbours_kept
from relalign.metrics.neighbours import neighbour_ndcg
from relalign.metrics.similarity import query_blocks
from relalign.metrics.vectors import unit_rows
from relalign.retrieval.relevance_files import Relevance, relevance_of_split
from relalign.training.history import Row

NDCG_AT = 10
METRICS = {"image": f"i2i/ndcg@{NDCG_AT}", "text": f"t2t/ndcg@{NDCG_AT}"}
KEPT = {"image": f"i2i/kept@{NDCG_AT}", "text": f"t2t/kept@{NDCG_AT}"}


@dataclass(frozen=True)
class Relations:
    """The relations of a split: what is relevant to what, and the vectors of the pretrained encoders.

    Rows are images in the order of `relevance.image_ids`, and captions in that of `relevance.caption_ids`, which
    are the rows `captions` of the split's own order. `image_of_caption` has the column of each caption's image.
    """

    relevance: Relevance
    image_of_caption: Int64[NDArray[np.int64], " caption"]
    captions: Int64[NDArray[np.int64], " caption"]
    pretrained: dict[str, Float[Tensor, "row width"]]

    @classmethod
    def of(cls, layout: Layout, split: str, data: SplitData, *, rotated_by: int | None = None) -> "Relations":
        """Those of a split's features as they are stored: what is above a cut has not been trained there."""
        relevance = relevance_of_split(layout, split, rotated_by=rotated_by)
        captions = data.caption_ids.numpy(force=True).argsort()
        pretrained = {"image": data.image.pooled, "text": data.text.pooled[captions]}
        return cls(relevance, data.image_of_caption.numpy(force=True)[captions], captions, pretrained)

    def measure(
        self,
        image: Float[Tensor, "image image_width"],
        text: Float[Tensor, "caption text_width"],
        *,
        prefix: str = "",
    ) -> Row:
        """`i2i/ndcg@10`, `t2t/ndcg@10`, and `i2i/kept@10`, `t2t/kept@10`: percent of the nearest ten in the
        pretrained encoder's space that are so here; names begin with `prefix`. Captions in the split's own order.

        nDCG is by the wording of captions (ROUGE-L). What is kept of neighbours knows no captions.
        """
        row: Row = {}
        queries = {"image": np.unique(self.image_of_caption), "text": self._first_captions()}
        for side, vectors in (("image", image), ("text", text[self.captions])):
            ids = self.relevance.image_ids if side == "image" else self.relevance.caption_ids
            rows, pretrained = (
                unit_rows(each, f"{side} vectors of the {space}", ids).cpu()
                for each, space in ((vectors, "validation split"), (self.pretrained[side], "encoder"))
            )
            kept = neighbours_kept(rows, pretrained, torch.from_numpy(queries[side]), k=NDCG_AT)
            row[prefix + METRICS[side]] = single_modal_ndcg(side, rows, self.relevance, self.image_of_caption)
            row[prefix + KEPT[side]] = kept.mean().item()
        return row

    def _first_captions(self) -> Int64[NDArray[np.int64], " query"]:
        return np.unique(self.image_of_caption, return_index=True)[1]


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
    rows = unit_rows(vectors, f"{side} vectors", ids).cpu()
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
