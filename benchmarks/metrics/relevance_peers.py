"""ROUGE-L of captions against the captions of every image, by this project and by others."""

import random

import numpy as np


def captions(images, each=5, seed=0):
    """Captions like COCO's in length (10.5 words) and vocabulary (Zipf)."""
    generator = random.Random(seed)
    words = [f"w{rank}" for rank in range(8000)]
    weights = [1 / (rank + 2) for rank in range(8000)]
    lengths = generator.choices(range(8, 16), weights=[9, 20, 24, 18, 12, 8, 5, 4], k=images * each)
    return [" ".join(generator.choices(words, weights, k=length)) for length in lengths]


def relalign(texts, owner):
    """The whole matrix."""
    from relalign.metrics.relevance import rouge_l

    return rouge_l(texts, owner), len(texts)


def rouge_score(texts, owner, rows=20):
    """Google's rouge-score, a pair at a time, for a few captions: only speed is compared (its beta is 1)."""
    from rouge_score.rouge_scorer import _lcs_table

    tokens = [text.split() for text in texts]
    best = np.zeros((rows, int(owner.max()) + 1))
    for row in range(rows):
        for other, image in zip(tokens, owner, strict=True):
            best[row, image] = max(best[row, image], _lcs_table(tokens[row], other)[-1][-1])
    return best, rows


PEERS = {function.__name__: function for function in (relalign, rouge_score)}
