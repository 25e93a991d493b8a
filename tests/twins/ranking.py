"""Slow, obviously right ranking: every random order of the tied candidates is written out."""

from itertools import combinations

import numpy as np


def unit(rows):
    rows = np.asarray(rows, dtype=np.float64)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32).astype(np.float64)


def best_places(scores, relevant, tie=1e-12):
    """All equally likely ranks (from 1) of the best relevant candidate of one query."""
    best = max(score for score, is_relevant in zip(scores, relevant, strict=True) if is_relevant)
    above = sum(score > best + tie for score in scores)
    tied = [abs(score - best) <= tie for score in scores]
    among = sum(is_relevant and is_tied for is_relevant, is_tied in zip(relevant, tied, strict=True))
    return [above + 1 + min(places) for places in combinations(range(sum(tied)), among)]


def recall(image, text, owner, ks):
    """(i2t, t2i), each a pair: expected rank of each query, and {k: percent of hits}."""
    scores = [[float(sum(a * b)) for b in unit(text)] for a in unit(image)]
    i2t = [
        best_places(scores[i], [o == i for o in owner]) for i in range(len(image)) if any(o == i for o in owner)
    ]
    t2i = [
        best_places([row[j] for row in scores], [i == owner[j] for i in range(len(image))])
        for j in range(len(text))
    ]
    return tuple(
        (
            [float(np.mean(places)) for places in side],
            {k: 100 * float(np.mean([np.mean([place <= k for place in places]) for places in side])) for k in ks},
        )
        for side in (i2t, t2i)
    )
