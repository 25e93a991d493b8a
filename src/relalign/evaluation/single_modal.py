"""Image to image and text to text retrieval, graded by ROUGE-L relevance (methods of CoVLR and RVLR)."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from relalign.evaluation.test_set import GradedTestSet
from relalign.metrics.measurement import Measurement
from relalign.metrics.neighbours import neighbour_ndcg
from relalign.metrics.similarity import query_blocks
from relalign.metrics.tied import EXCLUDED


def measure_single_modal(
    test: GradedTestSet, *, ks: Sequence[int], prefix: str = "", released_protocol: bool = False
) -> list[Measurement]:
    """`i2i/ndcg@k` over N images and `t2t/ndcg@k` of the N first captions over all captions.

    The relevance of image j to image i is that of j to the first caption of i; that of caption c to a caption
    of image i is that of c to image i, so the sibling captions are relevant with 1. The query itself is taken
    out of both the ranking and the ideal ranking; with `released_protocol` its similarity is set to 0 instead.
    Names begin with `prefix`. Queries to which nothing is relevant are left out.
    """
    score = 0.0 if released_protocol else EXCLUDED
    queries, candidates = len(test.captioned), len(test.text)
    found: dict[str, list[dict[int, Tensor]]] = {"i2i": [], "t2t": []}
    for block in query_blocks(queries, candidates):
        for side, rows, own, gains in (
            ("i2i", test.image, test.captioned[block], test.image_relevance(block)),
            ("t2t", test.text, test.first_caption[block], test.caption_relevance(block)),
        ):
            found[side].append(neighbour_ndcg(rows, torch.from_numpy(own), gains, ks=ks, score=score))
    ids = {"i2i": test.embeddings.image_ids[test.captioned], "t2t": test.embeddings.text_ids[test.first_caption]}
    return [
        measurement
        for side, blocks in found.items()
        for measurement in graded_measurements(f"{prefix}{side}", blocks, ids[side], test)
    ]


def graded_measurements(
    name: str, blocks: Sequence[dict[int, Tensor]], query_ids: np.ndarray, test: GradedTestSet
) -> list[Measurement]:
    """The nDCG values of all blocks of queries as measurements, without those to which nothing is relevant."""
    image_ids = test.embeddings.image_ids[test.captioned]
    measurements = []
    for k in blocks[0]:
        values = torch.cat([block[k] for block in blocks]).numpy()
        asked = np.isfinite(values)
        if asked.any():
            measurements.append(Measurement(f"{name}/ndcg@{k}", query_ids[asked], image_ids[asked], values[asked]))
    return measurements
