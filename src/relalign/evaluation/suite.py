"""All measurements of embeddings from any model; what is measured depends on what is known about the rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from relalign.evaluation.added import measure_added
from relalign.evaluation.cross_modal import measure_precision, measure_recall
from relalign.evaluation.folds import measure_folds
from relalign.evaluation.judgements import (
    GradedPairs,
    JudgedNames,
    Positives,
    graded_correlation,
    measure_positives,
)
from relalign.evaluation.labelled import measure_labels
from relalign.evaluation.languages import measure_languages
from relalign.evaluation.mixed import measure_mixed, measure_mixed_released
from relalign.evaluation.single_modal import measure_single_modal
from relalign.evaluation.space import measure_neighbours, measure_space
from relalign.evaluation.test_set import GradedTestSet, graded_test_set
from relalign.metrics.measurement import Measurement
from relalign.retrieval.embeddings import Embeddings
from relalign.retrieval.relevance_files import Relevance
from relalign.settings.evaluate import Evaluate

Results = tuple[list[Measurement], dict[str, float]]
CrossScores = tuple[Float[Tensor, "image caption"], Float[Tensor, "caption image"]]


@dataclass(frozen=True)
class Knowledge:
    """What may be known about embedded rows beyond which caption belongs to which image; all of it optional.

    `labels`: a class a caption, -1 for none. `languages`: a name a caption, "" for none. `teachers`:
    single-modal vectors of images and captions. `positives`: by name, (image to caption, caption to image);
    `names`: the ids they and `graded` use, by default those of the embeddings. `cross_scores`: of two-stage
    retrieval. `fold_order`: the rows of images in the order that cuts folds, by default that of their ids.
    """

    relevance: Relevance | None = None
    labels: NDArray[np.int64] | None = None
    languages: Sequence[str] | None = None
    teachers: tuple[Tensor, Tensor] | None = None
    positives: Mapping[str, tuple[Positives, Positives]] = field(default_factory=dict)
    graded: Sequence[GradedPairs] = ()
    names: JudgedNames | None = None
    cross_scores: CrossScores | None = None
    fold_order: NDArray[np.int64] | None = None


def measure(embeddings: Embeddings, settings: Evaluate, known: Knowledge) -> Results:
    """Measurements (with a value a query), and numbers that are no average over queries."""
    measurements = measure_recall(embeddings, ks=settings.recall_at) + measure_precision(embeddings)
    aligned, numbers = measure_space(embeddings)
    measurements += aligned
    if known.teachers is not None:
        measurements += measure_neighbours(embeddings, *known.teachers, k=settings.neighbours)
    if known.relevance is not None:
        measurements += _graded(graded_test_set(embeddings, known.relevance), settings, known.cross_scores)
    if known.labels is not None:
        measurements += measure_labels(embeddings, known.labels)
    if known.languages is not None:
        measurements += measure_languages(embeddings, known.languages, ks=settings.recall_at)
    if settings.fold_size:
        order = np.arange(len(embeddings.image)) if known.fold_order is None else known.fold_order
        measurements += measure_folds(embeddings, order, size=settings.fold_size, ks=settings.recall_at)
    names = known.names or JudgedNames(embeddings.image_ids, embeddings.text_ids)
    for name, (i2t, t2i) in known.positives.items():
        measurements += measure_positives(embeddings, names, i2t, t2i, name=name, ks=settings.recall_at)
    numbers |= {f"cxc/{pairs.kind}": graded_correlation(embeddings, names, pairs) for pairs in known.graded}
    measurements += measure_added(embeddings, known)
    return measurements, numbers


def _graded(test: GradedTestSet, settings: Evaluate, cross: CrossScores | None) -> list[Measurement]:
    ks = settings.ndcg_at
    measurements = measure_single_modal(test, ks=ks)
    measurements += measure_mixed(test, ks=ks) + measure_mixed(test, ks=ks, calibrated=True)
    if settings.released_protocol:
        cosines = test.image @ test.text.T
        i2t, t2i = cross or (cosines, cosines.T)
        measurements += measure_single_modal(test, ks=ks, prefix="released/", released_protocol=True)
        measurements += measure_mixed_released(test, i2t, t2i, ks=ks)
    return measurements


def released_scores(
    rows: int, columns: int, candidates: NDArray[np.int64], logits: Float[Tensor, "query k"]
) -> Float[Tensor, "query candidate"]:
    """Re-ranked scores as a whole matrix with -100 outside the first k, as the released scripts keep them."""
    scores = torch.full((rows, columns), -100.0)
    return scores.scatter_(1, torch.from_numpy(candidates), logits)
