"""Retrieval by class label within each modality, where the data has labels."""

import numpy as np
import torch
from numpy.typing import NDArray

from relalign.metrics.measurement import Measurement
from relalign.metrics.precision import precision_at_r
from relalign.metrics.similarity import cosine, leave_out, query_blocks
from relalign.metrics.vectors import unit_rows
from relalign.retrieval.embeddings import Embeddings


def measure_labels(embeddings: Embeddings, labels: NDArray[np.int64]) -> list[Measurement]:
    """`i2i/map@r`, `i2i/r_precision` and the same for `t2t`: what has the query's label is relevant, but itself.

    `labels` has an entry a caption; an image has that of its first caption, and -1 is no label (a candidate, but
    no query). Text queries are the first captions; a query whose label nothing else has is left out.
    """
    captioned, first = np.unique(embeddings.text_to_image, return_index=True)
    of_image = np.full(len(embeddings.image), -1, dtype=np.int64)
    of_image[captioned] = labels[first]
    sides = (
        ("i2i", embeddings.image, embeddings.image_ids, of_image, captioned),
        ("t2t", embeddings.text, embeddings.text_ids, labels, first),
    )
    image_ids = embeddings.image_ids[captioned]
    measurements = []
    for name, rows, ids, label, queries in sides:
        unit, label_of = unit_rows(rows, f"{name} embeddings", ids), torch.from_numpy(label)
        parts = []
        for block in query_blocks(len(queries), len(unit)):
            own = torch.from_numpy(queries[block])
            same = ((label_of[own, None] == label_of[None]) & (label_of[own, None] >= 0)).double()
            scores = cosine(unit[own], unit)
            leave_out(scores, same, own)
            precision = precision_at_r(scores, same > 0)
            parts.append(torch.stack((precision.mean_average_precision, precision.r_precision)))
        values = torch.cat(parts, dim=1).numpy()
        asked = np.isfinite(values[0])
        if asked.any():
            measurements += [
                Measurement(f"{name}/{metric}", ids[queries][asked], image_ids[asked], value[asked])
                for metric, value in zip(("map@r", "r_precision"), values, strict=True)
            ]
    return measurements
