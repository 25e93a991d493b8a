"""Cross-modal retrieval of embeddings as measurements: recall and ranks in both directions."""

from collections.abc import Sequence

import numpy as np
import torch

from relalign.metrics.measurement import Measurement
from relalign.metrics.precision import precision_at_r
from relalign.metrics.recall import RecallReport, recall
from relalign.metrics.similarity import cosine, query_blocks
from relalign.metrics.vectors import unit_rows
from relalign.retrieval.embeddings import Embeddings


def measure_recall(embeddings: Embeddings, *, ks: Sequence[int], prefix: str = "") -> list[Measurement]:
    """`i2t/recall@k`, `i2t/median_rank`, `i2t/mean_rank` and the same for `t2i`, each name after `prefix`."""
    report = recall(
        embeddings.image,
        embeddings.text,
        embeddings.text_to_image,
        ks=ks,
        image_ids=embeddings.image_ids,
        text_ids=embeddings.text_ids,
    )
    return recall_measurements(report, embeddings, prefix=prefix)


def recall_measurements(report: RecallReport, embeddings: Embeddings, *, prefix: str = "") -> list[Measurement]:
    """A report's numbers by query id."""
    asked = report.i2t.queries
    sides = (
        ("i2t", report.i2t, embeddings.image_ids[asked], embeddings.image_ids[asked]),
        ("t2i", report.t2i, embeddings.text_ids, embeddings.text_image_ids),
    )
    measurements = []
    for name, side, queries, images in sides:
        values: dict[str, np.ndarray] = {f"recall@{k}": hits for k, hits in side.hits.items()}
        values |= {"median_rank": side.ranks, "mean_rank": side.ranks}
        measurements += [
            Measurement(f"{prefix}{name}/{metric}", queries, images, array) for metric, array in values.items()
        ]
    return measurements


def measure_precision(embeddings: Embeddings) -> list[Measurement]:
    """`i2t/map@r` and `i2t/r_precision`: R is the image's number of captions.

    A caption has one image, so both equal `t2i/recall@1` in the other direction and are not repeated.
    """
    image = unit_rows(embeddings.image, "image embeddings", embeddings.image_ids)
    text = unit_rows(embeddings.text, "text embeddings", embeddings.text_ids)
    owner = torch.from_numpy(embeddings.text_to_image)
    asked = np.unique(embeddings.text_to_image)
    parts = []
    for block in query_blocks(len(asked), len(text)):
        rows = torch.from_numpy(asked[block])
        found = precision_at_r(cosine(image[rows], text), owner == rows[:, None])
        parts.append(torch.stack((found.mean_average_precision, found.r_precision)))
    average, at_r = torch.cat(parts, dim=1).numpy()
    ids = embeddings.image_ids[asked]
    return [Measurement("i2t/map@r", ids, ids, average), Measurement("i2t/r_precision", ids, ids, at_r)]
