"""Slow, obviously right ranking: every random order of the tied candidates is written out."""

from itertools import combinations, pairwise, permutations

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


def orders(scores, tie=1e-9):
    """Every ranking of the candidates, highest score first, with the tied in every order."""
    for order in permutations(range(len(scores))):
        if all(scores[a] >= scores[b] - tie for a, b in pairwise(order)):
            yield order


def ndcg(scores, gains, k):
    """Mean nDCG@k in percent over every order of the tied, linear gain."""
    ideal = sum(gain / np.log2(rank + 1) for rank, gain in enumerate(sorted(gains, reverse=True)[:k], 1))
    reached = [
        sum(gains[candidate] / np.log2(rank + 1) for rank, candidate in enumerate(order[:k], 1))
        for order in orders(scores)
    ]
    return 100 * np.mean(reached) / ideal


def precision_at_r(scores, relevant):
    """Mean (mAP@R, R-Precision) in percent over every order of the tied."""
    wanted = sum(relevant)
    found = []
    for order in orders(scores):
        hits = [relevant[candidate] for candidate in order[:wanted]]
        average = sum(hit * sum(hits[:rank]) / rank for rank, hit in enumerate(hits, 1)) / wanted
        found.append((100 * average, 100 * sum(hits) / wanted))
    return tuple(np.mean(found, axis=0))
