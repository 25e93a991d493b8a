import subprocess
import sys
from math import comb

import faiss
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from relalign.errors import RelalignError
from relalign.metrics import ranks
from relalign.metrics.recall import recall
from tests.twins import ranking as twin


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def grid_vectors(rng, rows, width):
    """Non-zero rows on a coarse grid, so that equal rows and equal scores are common."""
    vectors = rng.integers(-1, 2, (rows, width)).astype(np.float32)
    vectors[~vectors.any(1), 0] = 1
    return vectors


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), images=st.integers(1, 7), texts=st.integers(1, 12), width=st.integers(1, 4))
def test_equals_the_slow_twin_with_many_ties(seed, images, texts, width):
    rng = np.random.default_rng(seed)
    image, text = grid_vectors(rng, images, width), grid_vectors(rng, texts, width)
    owner = rng.integers(0, images, texts)
    report = recall(image, text, owner, ks=(1, 2, 5))
    for side, (expected_ranks, expected_recall) in zip(
        (report.i2t, report.t2i), twin.recall(image, text, owner, (1, 2, 5)), strict=True
    ):
        np.testing.assert_allclose(side.ranks, expected_ranks, atol=1e-9)
        assert side.recall == pytest.approx(expected_recall, abs=1e-9)


def random_problem(images=60, captions=5, width=16, noise=2.0, seed=0):
    rng = np.random.default_rng(seed)
    image = rng.standard_normal((images, width)).astype(np.float32)
    owner = np.repeat(np.arange(images), captions)
    text = (image[owner] + noise * rng.standard_normal((len(owner), width))).astype(np.float32)
    return twin.unit(image).astype(np.float32), twin.unit(text).astype(np.float32), owner


def test_equals_faiss_on_random_vectors():
    image, text, owner = random_problem(images=300)
    report = recall(image, text, owner)
    for gallery, queries, correct, side in (
        (text, image, lambda found: owner[found] == np.arange(len(image))[:, None], report.i2t),
        (image, text, lambda found: found == owner[:, None], report.t2i),
    ):
        index = faiss.IndexFlatIP(gallery.shape[1])
        index.add(gallery)
        found = correct(index.search(queries, 10)[1])
        for k in (1, 5, 10):
            assert side.recall[k] == pytest.approx(100 * found[:, :k].any(1).mean(), abs=1e-9)


def test_constant_scorer_gets_chance():
    image, text, owner = np.ones((8, 3)), np.ones((40, 3)), np.repeat(np.arange(8), 5)
    report = recall(image, text, owner)
    assert report.t2i.recall == pytest.approx({1: 12.5, 5: 62.5, 10: 100})
    assert report.i2t.recall == pytest.approx({k: 100 * (1 - comb(35, k) / comb(40, k)) for k in (1, 5, 10)})
    assert report.t2i.mean_rank == pytest.approx(4.5)
    assert report.i2t.mean_rank == pytest.approx(41 / 6)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_permuting_candidates_changes_nothing(seed):
    rng = np.random.default_rng(seed)
    image, text, owner = random_problem(images=23, width=8, seed=seed)
    text[rng.integers(0, len(text), 40)] = text[0]
    image[rng.integers(0, len(image), 5)] = image[0]
    i, j = rng.permutation(len(image)), rng.permutation(len(text))
    before, after = recall(image, text, owner), recall(image[i], text[j], np.argsort(i)[owner[j]])
    np.testing.assert_array_equal(before.i2t.ranks[i], after.i2t.ranks)
    np.testing.assert_array_equal(before.t2i.ranks[j], after.t2i.ranks)


@pytest.mark.parametrize("threads", [1, 3])
def test_blocks_and_threads_do_not_change_the_result(monkeypatch, threads):
    image, text, owner = random_problem(images=37)
    text[::7] = text[0]
    whole = recall(image, text, owner)
    torch.set_num_threads(threads)
    monkeypatch.setattr(ranks, "BLOCK_ROWS", 5)
    monkeypatch.setattr(ranks, "BLOCK_COLUMNS", 11)
    blocked = recall(image, text, owner)
    np.testing.assert_array_equal(whole.i2t.ranks, blocked.i2t.ranks)
    np.testing.assert_array_equal(whole.t2i.ranks, blocked.t2i.ranks)


def test_scores_closer_than_float32_are_still_ordered_exactly():
    image = np.array([[1, 0], [1, 1e-9], [1, 2e-9]], dtype=np.float32)
    report = recall(image, np.array([[0.6, 0.8]], dtype=np.float32), np.array([1]), ks=(1,))
    assert report.t2i.ranks.tolist() == [2.0]


def test_an_image_without_captions_is_a_candidate_but_no_query():
    report = recall(np.eye(3), np.eye(3)[[0, 2]], np.array([0, 0]), ks=(1,))
    assert report.i2t.queries.tolist() == [0]
    assert report.t2i.ranks.tolist() == [1.0, 2.5]


def test_torch_and_numpy_and_scale_of_rows_give_the_same():
    image, text, owner = random_problem()
    plain = recall(image, text, owner)
    other = recall(torch.from_numpy(image), torch.from_numpy(text) * 4, torch.from_numpy(owner))
    assert plain.metrics() == other.metrics()


def test_rsum_is_the_sum_of_the_six_and_names_are_flat():
    metrics = recall(*random_problem()).metrics()
    six = [metrics[f"{side}/recall@{k}"] for side in ("i2t", "t2i") for k in (1, 5, 10)]
    assert metrics["rsum"] == pytest.approx(sum(six))
    assert {"i2t/median_rank", "t2i/mean_rank"} < set(metrics)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0])
def test_non_finite_or_zero_rows_are_named(bad):
    image, text, owner = random_problem(images=4)
    text[3] = bad
    with pytest.raises(RelalignError, match=r"text embeddings: 1 of 20 rows .* ids 103"):
        recall(image, text, owner, text_ids=np.arange(100, 120))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": np.ones((2, 3), dtype=np.int64)}, "floating-point"),
        ({"image": np.ones((2, 4))}, "one space"),
        ({"image": np.ones((0, 3))}, "Nothing to rank"),
        ({"text_to_image": np.array([0, 2])}, r"text_to_image\[1\] is 2"),
        ({"text_to_image": np.array([0])}, "1 entries for 2 captions"),
        ({"ks": (0,)}, "at least 1"),
    ],
)
def test_wrong_input_is_a_clear_error(change, message):
    given = {"image": np.ones((2, 3)), "text": np.ones((2, 3)), "text_to_image": np.array([0, 1])} | change
    with pytest.raises(RelalignError, match=message):
        recall(**given)


MEMORY_PROGRAM = """
import resource
import numpy as np
from relalign.metrics.recall import recall

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000

image = np.random.default_rng(0).standard_normal((8000, 8)).astype(np.float32)
owner = np.repeat(np.arange(8000), 5)
recall(image[:100], image[:100], np.arange(100))
before = peak()
recall(image, image[owner], owner)
print(peak() - before)
"""


def test_the_score_matrix_is_never_whole_in_memory():
    done = subprocess.run([sys.executable, "-c", MEMORY_PROGRAM], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 700  # MB; 8,000 x 40,000 float32 are 1,280
