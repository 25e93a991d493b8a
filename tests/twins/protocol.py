"""The papers' single-modal and mixed protocol, a query and a candidate at a time (no tied scores)."""

import numpy as np


def _ndcg(scores, gains, k):
    order = sorted(scores, key=scores.get, reverse=True)[:k]
    best = sorted(gains.values(), reverse=True)[:k]
    ideal = sum(gain / np.log2(rank + 1) for rank, gain in enumerate(best, 1))
    return 100 * sum(gains[item] / np.log2(rank + 1) for rank, item in enumerate(order, 1)) / ideal


def _mean(problems, k):
    return np.mean([_ndcg(scores, gains, k) for scores, gains in problems])


def single_modal(image, text, relevance, k, captions, released=False):
    """(i2i, t2t); image i has the captions `captions * i` to `captions * i + captions - 1`."""
    i2i, t2t = [], []
    for i in range(len(image)):
        scores = {j: float(image[i] @ image[j]) for j in range(len(image))}
        gains = {j: relevance[captions * i][j] for j in range(len(image))}
        scores[i], gains[i] = (0.0 if released else -9.0), 0.0
        i2i.append((scores, gains))
        own = captions * i
        scores = {c: float(text[own] @ text[c]) for c in range(len(text))}
        gains = {c: relevance[c][i] for c in range(len(text))}
        scores[own], gains[own] = (0.0 if released else -9.0), 0.0
        t2t.append((scores, gains))
    return _mean(i2i, k), _mean(t2t, k)


def mixed(image, text, relevance, k, captions):
    """(i2it, t2it) by cosine, the query left out."""
    found = []
    for side in ("image", "text"):
        problems = []
        for i in range(len(image)):
            query = image[i] if side == "image" else text[captions * i]
            scores = {("image", j): float(query @ image[j]) for j in range(len(image))}
            scores |= {("text", c): float(query @ text[c]) for c in range(len(text))}
            gains = {("image", j): relevance[captions * i][j] for j in range(len(image))}
            gains |= {("text", c): relevance[c][i] for c in range(len(text))}
            own = (side, i if side == "image" else captions * i)
            del scores[own], gains[own]
            problems.append((scores, gains))
        found.append(_mean(problems, k))
    return tuple(found)


def mixed_released(image, text, relevance, cross_i2t, cross_t2i, k, captions):
    """(i2it, t2it) as the released scripts write it: whole matrices, no self removal, a transposed block."""
    images_first = relevance[::captions]
    i2it = np.concatenate((image @ image.T, cross_i2t), 1), np.concatenate((images_first, relevance.T), 1)
    t2it = (
        np.concatenate((text[::captions] @ text.T, cross_t2i.T[:, ::captions]), 1),
        np.concatenate((relevance.T, images_first.T), 1),
    )
    return tuple(
        _mean([(dict(enumerate(s)), dict(enumerate(g))) for s, g in zip(*sides, strict=True)], k)
        for sides in (i2it, t2it)
    )
