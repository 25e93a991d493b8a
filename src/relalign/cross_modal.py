"""Cross-modal retrieval of embeddings as measurements: recall and ranks in both directions."""

from collections.abc import Sequence

import numpy as np

from relalign.embeddings import Embeddings
from relalign.metrics.measurement import Measurement
from relalign.metrics.recall import RecallReport, recall


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
