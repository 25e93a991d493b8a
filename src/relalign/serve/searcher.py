"""One run's answers: query vectors -> nearest images and texts -> re-ranked, if asked -> ids, scores and ticks."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import torch
from jaxtyping import Float32
from numpy.typing import NDArray

from relalign.errors import RelalignError
from relalign.features.table import Features
from relalign.model.backbone import Backbone
from relalign.serve.answers import FoundImage, FoundText, MethodAnswer, Query
from relalign.serve.collection import Collection
from relalign.serve.reranking import matching_of
from relalign.serve.runs import Run

DEPTH = 16  # candidates re-ranked where params.yaml names none
SIDES = ("image", "text")

log = logging.getLogger(__name__)
Vector = Float32[NDArray[np.float32], " width"]


@dataclass(frozen=True)
class Encoded:
    """Finished features of what queries bring along; row i is that of the query `numbers[i]`."""

    features: Features
    numbers: list[int]


@dataclass(frozen=True)
class _Asked:
    """A query in one run's space: a vector for its text and its image, and what fusion reads of each."""

    query: Query
    vectors: Mapping[str, Vector]
    features: Mapping[str, Callable[[], Features]]

    @property
    def vector(self) -> Vector:
        """What is compared: of a mixed query both vectors in its proportions, scaled to unit norm."""
        if len(self.vectors) == 1:
            return next(iter(self.vectors.values()))
        mixed = self.query.mix * self.vectors["text"] + (1 - self.query.mix) * self.vectors["image"]
        unit: Vector = (mixed / max(np.linalg.norm(mixed), 1e-12)).astype(np.float32)
        return unit


@dataclass
class _Candidates:
    """Rows of one side, best first, with cosines and, of those that were re-ranked, matching logits."""

    rows: list[int]
    scores: list[float]
    logits: list[float | None]

    def without(self, row: int | None) -> "_Candidates":
        """All but the query itself, and but -1, which stands for no row."""
        kept = [place for place, other in enumerate(self.rows) if other not in (row, -1)]
        return _Candidates(*([column[place] for place in kept] for column in vars(self).values()))

    def reordered(self, logits: Sequence[float]) -> "_Candidates":
        """The first ones by their logits, highest first; the others follow as they were."""
        first = sorted(range(len(logits)), key=lambda place: -logits[place])
        order = [*first, *range(len(logits), len(self.rows))]
        known = [*(round(logit, 4) for logit in logits), *self.logits[len(logits) :]]
        return _Candidates(
            [self.rows[place] for place in order],
            [self.scores[place] for place in order],
            [known[place] for place in order],
        )


@torch.inference_mode()
def find(
    run: Run, collection: Collection, queries: Mapping[int, Query], encoded: Mapping[str, Encoded]
) -> dict[int, MethodAnswer]:
    """Answer checked queries, by their numbers; `encoded` has "image" and "text" where some query needs them."""
    if not queries:
        return {}
    start = perf_counter()
    asked = _asked(run, queries, encoded)
    depth = run.params.evaluate.rerank_depth or DEPTH
    k = 1 + max(max(query.top, depth * query.rerank) for query in queries.values())
    vectors = np.stack([each.vector for each in asked.values()])
    found = {side: run.indexes[side].nearest(vectors, k) for side in SIDES}
    shared = (perf_counter() - start) / len(asked)
    answers = {}
    for place, (number, each) in enumerate(asked.items()):
        start = perf_counter()
        ids = {"image": each.query.image_id, "text": each.query.caption_id}
        own = {side: None if id_ is None else run.row(side, id_) for side, id_ in ids.items()}
        candidates = {
            side: _Candidates(rows[place].tolist(), scores[place].tolist(), [None] * rows.shape[1]).without(
                own[side]
            )
            for side, (scores, rows) in found.items()
        }
        note = _rerank(run, each, candidates, depth) if each.query.rerank else ""
        answers[number] = MethodAnswer(
            run.method,
            run.seed,
            _images(run, collection, each.query, candidates["image"]),
            _texts(run, collection, each.query, candidates["text"]),
            reranked=each.query.rerank and not note,
            note=note,
            milliseconds=round(1000 * (shared + perf_counter() - start), 2),
        )
    return answers


def _asked(run: Run, queries: Mapping[int, Query], encoded: Mapping[str, Encoded]) -> dict[int, _Asked]:
    embedder = run.model.embedder
    encoders = {"image": embedder.encode_image, "text": embedder.encode_text}
    new: dict[str, NDArray[np.float32]] = {
        side: encoders[side](each.features).embedding.float().numpy(force=True) for side, each in encoded.items()
    }
    asked = {}
    for number, query in queries.items():
        vectors: dict[str, Vector] = {}
        features: dict[str, Callable[[], Features]] = {}
        for side, id_ in (("image", query.image_id), ("text", query.caption_id)):
            if id_ is not None:
                row = run.row(side, id_)
                vectors[side] = getattr(run.embeddings, side)[row]
                features[side] = _later(run.features, side, [row])
            elif side in encoded and number in encoded[side].numbers:
                place = encoded[side].numbers.index(number)
                vectors[side] = new[side][place]
                taken = torch.tensor([place], device=run.model.device)
                features[side] = _later(encoded[side].features.take, taken)
        asked[number] = _Asked(query, vectors, features)
    return asked


def _later(function: Callable[..., Features], *arguments: object) -> Callable[[], Features]:
    return lambda: function(*arguments)


def _rerank(run: Run, asked: _Asked, candidates: dict[str, _Candidates], depth: int) -> str:
    """Re-order the candidates of the other modality in place; what prevents that is returned."""
    backbone = run.model.embedder
    if not isinstance(backbone, Backbone):
        return f"{run.method} has no fusion encoder that could re-rank."
    if asked.query.kind == "mixed":
        return "A mixed query is not re-ranked: fusion compares one text with one image."
    side, other = ("text", "image") if asked.query.kind == "text" else ("image", "text")
    rows = candidates[other].rows[:depth]
    try:
        query = torch.from_numpy(asked.vectors[side])[None], asked.features[side]()
        others = torch.from_numpy(getattr(run.embeddings, other)[rows]), run.features(other, rows)
    except RelalignError:
        log.exception("re-ranking")
        return "Re-ranking reads data/features, which is not there or not whole. Run the pipeline again."
    image, text = (query, others) if side == "image" else (others, query)
    logits = matching_of(backbone, image, text, precision=run.params.evaluate.precision)
    candidates[other] = candidates[other].reordered(logits)
    return ""


def _images(run: Run, collection: Collection, query: Query, candidates: _Candidates) -> list[FoundImage]:
    right = None
    if query.kind == "text" and query.caption_id is not None:
        right = collection.image_of[query.caption_id]
    return [
        FoundImage(
            image,
            score=round(score, 4),
            matching=logit,
            right=None if right is None else image == right,
            captions=[collection.captions[caption] for caption in collection.captions_of[image]],
            path=collection.paths[image],
        )
        for image, score, logit in _first(run.embeddings.image_ids, candidates, query.top)
    ]


def _texts(run: Run, collection: Collection, query: Query, candidates: _Candidates) -> list[FoundText]:
    right = None
    if query.kind == "image":
        right = query.image_id
    elif query.kind == "text" and query.caption_id is not None:
        right = collection.image_of[query.caption_id]
    return [
        FoundText(
            caption,
            score=round(score, 4),
            matching=logit,
            right=None if right is None else collection.image_of[caption] == right,
            caption=collection.captions[caption],
            image_id=collection.image_of[caption],
            path=collection.paths[collection.image_of[caption]],
        )
        for caption, score, logit in _first(run.embeddings.text_ids, candidates, query.top)
    ]


def _first(ids: NDArray[np.int64], candidates: _Candidates, top: int) -> list[tuple[int, float, float | None]]:
    columns = (column[:top] for column in (candidates.rows, candidates.scores, candidates.logits))
    return [(int(ids[row]), score, logit) for row, score, logit in zip(*columns, strict=True)]
