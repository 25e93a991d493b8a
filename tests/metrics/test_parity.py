"""The same numbers as independent implementations: TREC's evaluator and ECCV Caption's (faiss: test_recall)."""

import warnings
from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from relalign.metrics.ndcg import ndcg
from relalign.metrics.precision import precision_at_r
from relalign.metrics.recall import recall
from relalign.metrics.success import success_at

pytrec_eval = pytest.importorskip("pytrec_eval")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it asks for ujson
    eccv = pytest.importorskip("eccv_caption._metrics")

KS = (1, 5, 10)


def trec(scores, gains, measures, names=None):
    """TREC's values of one query; equal scores are ordered by the candidates' names."""
    names = names or [f"d{candidate:03d}" for candidate in range(len(scores))]
    judged = {"q": {name: int(gain) for name, gain in zip(names, gains, strict=True)}}
    ranked = {"q": {name: float(score) for name, score in zip(names, scores, strict=True)}}
    return pytrec_eval.RelevanceEvaluator(judged, measures).evaluate(ranked)["q"]


def ours(scores, gains):
    row, gain = (torch.from_numpy(np.asarray(side, dtype=np.float64))[None] for side in (scores, gains))
    hits = success_at(row, gain > 0, ks=KS)
    graded = ndcg(row, gain, ks=KS)
    values = {f"success_{k}": hits[k].item() / 100 for k in KS}
    values |= {f"ndcg_cut_{k}": graded[k].item() / 100 for k in KS}
    return values | {"Rprec": precision_at_r(row, gain > 0).r_precision.item() / 100}


MEASURES = {"success.1,5,10", "ndcg_cut.1,5,10", "Rprec"}


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), candidates=st.integers(1, 40))
def test_random_rankings_equal_trec(seed, candidates):
    rng = np.random.default_rng(seed)
    scores, gains = rng.permutation(candidates) - candidates / 2, rng.integers(0, 4, candidates)
    gains[rng.integers(candidates)] = 3
    assert ours(scores, gains) == pytest.approx(trec(scores.tolist(), gains, MEASURES), abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), candidates=st.integers(1, 4))
def test_tied_rankings_equal_trec_averaged_over_all_names_of_the_candidates(seed, candidates):
    rng = np.random.default_rng(seed)
    scores, gains = rng.integers(0, 2, candidates), rng.integers(0, 3, candidates)
    gains[0] = 2
    results = [trec(scores, gains, MEASURES, list(names)) for names in permutations("abcd"[:candidates])]
    assert ours(scores, gains) == pytest.approx(
        {m: np.mean([r[m] for r in results]) for m in results[0]}, abs=1e-6
    )


def embedded(seed, images=25, captions=4):
    rng = np.random.default_rng(seed)
    image = rng.standard_normal((images, 12)).astype(np.float32)
    owner = np.repeat(np.arange(images), captions)
    text = (image[owner] + 1.5 * rng.standard_normal((len(owner), 12))).astype(np.float32)
    return [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (image, text)] + [owner]


@pytest.mark.parametrize("seed", range(5))
def test_cross_modal_recall_equals_eccv_caption_and_trec(seed):
    image, text, owner = embedded(seed)
    report, scores = recall(image, text, owner, ks=KS), image @ text.T
    texts = {i: list(np.argsort(-scores[i])) for i in range(len(image))}
    images = {j: list(np.argsort(-scores[:, j])) for j in range(len(text))}
    of_image = {i: list(np.flatnonzero(owner == i)) for i in range(len(image))}
    for k in KS:
        assert report.i2t.recall[k] == pytest.approx(100 * eccv.compute_r_at_k(texts, of_image, K=k))
        assert report.t2i.recall[k] == pytest.approx(
            100 * eccv.compute_r_at_k(images, {j: [owner[j]] for j in images}, K=k)
        )
    hits = [trec(scores[i], owner == i, {"success.1,5,10"}) for i in range(len(image))]
    for k in KS:
        assert report.i2t.recall[k] == pytest.approx(100 * np.mean([hit[f"success_{k}"] for hit in hits]))


@pytest.mark.parametrize("seed", range(5))
def test_map_at_r_and_r_precision_equal_eccv_caption(seed):
    rng = np.random.default_rng(seed)
    scores, relevant = rng.standard_normal((20, 30)), rng.random((20, 30)) < 0.2
    relevant[:, 0] = True
    found = precision_at_r(torch.tensor(scores), torch.tensor(relevant))
    ranking = {q: list(np.argsort(-scores[q])) for q in range(20)}
    positives = {q: list(np.flatnonzero(relevant[q])) for q in range(20)}
    theirs = eccv.compute_eccv_metrics(ranking, positives)
    assert found.mean_average_precision.mean().item() == pytest.approx(100 * theirs["eccv_map_at_r"])
    assert found.r_precision.mean().item() == pytest.approx(100 * theirs["eccv_rprecision"])
