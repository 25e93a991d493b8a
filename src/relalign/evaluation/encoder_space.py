"""Retrieval within a modality by an encoder's own vectors: what training does to the encoder itself."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch.nn.functional as F
from jaxtyping import Float, Float32
from numpy.typing import NDArray
from torch import Tensor

from relalign.evaluation.single_modal import measure_single_modal
from relalign.evaluation.test_set import graded_test_set
from relalign.features.batches import SplitData
from relalign.metrics.measurement import Measurement
from relalign.retrieval.embeddings import Embeddings
from relalign.retrieval.relevance_files import Relevance
from relalign.retrieval.two_stage import caption_positions


def measure_encoders(
    data: SplitData, embeddings: Embeddings, relevance: Relevance, *, ks: Sequence[int], prefix: str
) -> list[Measurement]:
    """`<prefix>i2i/ndcg@k` and `<prefix>t2t/ndcg@k` of the pooled vectors of a split, by cosine.

    `data` is the split of `embeddings`, whose ids and order the measurements have. Matching can damage relations
    in an encoder that the shared space hides, or the other way round (the premise of CoVLR and Rebalanced).
    """
    image, text = data.image.pooled, data.text.pooled[caption_positions(data, embeddings)]
    width = max(image.shape[1], text.shape[1])
    own = replace(embeddings, image=_unit_rows(image, width), text=_unit_rows(text, width))
    return measure_single_modal(graded_test_set(own, relevance), ks=ks, prefix=prefix)


def _unit_rows(vectors: Float[Tensor, "row own_width"], width: int) -> Float32[NDArray[np.float32], "row width"]:
    """Unit rows, with zeros up to `width`, which change no cosine within a side."""
    return F.pad(F.normalize(vectors.float(), dim=1), (0, width - vectors.shape[1])).numpy(force=True)
