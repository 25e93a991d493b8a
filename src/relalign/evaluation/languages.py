"""Retrieval in each language, where the captions are in several."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from relalign.evaluation.cross_modal import measure_recall
from relalign.metrics.measurement import Measurement
from relalign.retrieval.embeddings import Embeddings

_SEVERAL = 2


def measure_languages(embeddings: Embeddings, languages: Sequence[str], *, ks: Sequence[int]) -> list[Measurement]:
    """`language_<name>/i2t/recall@k` and the others of `measure_recall`, once a language; none for a single one.

    `languages` has an entry a caption, "" for none. A language's captions alone ask and answer; all images are
    candidates, and those with a caption in it ask.
    """
    names = [name for name in sorted(set(languages)) if name]
    measurements: list[Measurement] = []
    for name in names if len(names) >= _SEVERAL else []:
        own = np.array([language == name for language in languages])
        part = replace(
            embeddings,
            text=embeddings.text[own],
            text_ids=embeddings.text_ids[own],
            text_image_ids=embeddings.text_image_ids[own],
        )
        measurements += measure_recall(part, ks=ks, prefix=f"language_{name.replace('/', '-')}/")
    return measurements
