"""The index of the search: exact where that is quick, else nearly so, and it says how nearly."""

import logging

import faiss
import numpy as np
import pytest

from relalign.serve.search_index import build_index


def unit(rows: int, *, width: int = 16, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed).normal(size=(rows, width)).astype(np.float32)
    return random / np.linalg.norm(random, axis=1, keepdims=True)


def test_few_rows_are_searched_exactly() -> None:
    vectors, queries = unit(50), unit(7, seed=1)
    index = build_index(vectors, vectors)
    scores, rows = index.nearest(queries, 5)
    assert (index.kind, index.recall) == ("Flat", 1.0)
    np.testing.assert_array_equal(rows, np.argsort(-queries @ vectors.T)[:, :5])
    np.testing.assert_allclose(scores, -np.sort(-queries @ vectors.T)[:, :5], atol=1e-6)


def test_more_than_there_are_is_all_there_are() -> None:
    assert build_index(unit(3), unit(1)).nearest(unit(1), 10)[1].shape == (1, 3)


def test_many_rows_are_searched_in_lists_whose_measured_recall_is_true() -> None:
    vectors, queries = unit(3000), unit(300, seed=1)
    index = build_index(vectors, unit(500, seed=2), exact_below=3000)
    assert index.kind.startswith("IVF")
    assert 0.99 <= index.recall <= 1
    right = np.argsort(-queries @ vectors.T)[:, :10]
    found = index.nearest(queries, 10)[1]
    recall = np.mean([np.isin(row, other).mean() for row, other in zip(right, found, strict=True)])
    assert recall == pytest.approx(index.recall, abs=0.03)


def test_lists_of_equal_vectors_give_equal_answers() -> None:
    first, second = (build_index(unit(2000), unit(150, seed=2), exact_below=10) for _ in range(2))
    # Where nearly all lists are searched other lists would give the same answers: the bytes would differ.
    np.testing.assert_array_equal(*(faiss.serialize_index(one.index) for one in (first, second)))
    np.testing.assert_array_equal(first.nearest(unit(9, seed=1), 5)[1], second.nearest(unit(9, seed=1), 5)[1])


def test_what_an_approximate_index_finds_is_said_with_the_number_of_queries_and_threads(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO):
        index = build_index(unit(2000), unit(150, seed=2), exact_below=10)
    said = f"recall@10 {index.recall:.3f} of exact search (350 queries, {faiss.omp_get_max_threads()} threads)"
    assert said in caplog.text


def test_the_recall_that_is_said_is_that_of_queries_of_the_other_modality_too() -> None:
    """Texts that lie between the images' groups find theirs in more lists than images do."""
    centres = unit(40, width=32, seed=3)
    random = np.random.default_rng(4)
    vectors = np.repeat(centres, 100, axis=0) + 0.03 * random.normal(size=(4000, 32)).astype(np.float32)
    between = centres[random.integers(40, size=(300, 8))].mean(axis=1)
    vectors, between = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (vectors, between))
    own, both = (build_index(vectors, others, exact_below=10) for others in (vectors, between))
    assert int(both.kind.split()[1]) > int(own.kind.split()[1]), "more lists are searched"
    right = np.argsort(-between @ vectors.T)[:, :10]
    shares = []
    for index in (own, both):
        found = index.nearest(between, 10)[1]
        shares.append(np.mean([np.isin(row, other).mean() for row, other in zip(right, found, strict=True)]))
    assert shares[0] < 0.975, "what the images' own recall of 0.99 hides"
    assert shares[1] >= 0.985
    assert both.recall >= 0.99
