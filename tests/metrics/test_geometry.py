import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from relalign.metrics import similarity
from relalign.metrics.geometry import alignment, modality_gap, neighbours_kept, uniformity
from relalign.metrics.vectors import unit_rows


def random_rows(rows, width, seed=0):
    return unit_rows(np.random.default_rng(seed).standard_normal((rows, width)), "rows")


def nearest(rows, query, k):
    """The k nearest of all others, by loops (no tied scores)."""
    scores = {j: float(rows[query].double() @ rows[j].double()) for j in range(len(rows)) if j != query}
    return set(sorted(scores, key=scores.get, reverse=True)[:k])


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), k=st.integers(1, 12))
def test_neighbours_kept_equals_the_overlap_of_two_sets(seed, k):
    learned, teacher = random_rows(9, 4, seed), random_rows(9, 6, seed + 1)
    found = neighbours_kept(learned, teacher, torch.arange(9), k=k)
    depth = min(k, 8)
    expected = [100 * len(nearest(learned, q, depth) & nearest(teacher, q, depth)) / depth for q in range(9)]
    np.testing.assert_allclose(found, expected)


def test_a_space_keeps_all_of_its_own_neighbours_and_blocks_change_nothing(monkeypatch):
    rows, queries = random_rows(30, 5), torch.tensor([3, 17, 4])
    assert neighbours_kept(rows, rows, queries, k=7).tolist() == [100, 100, 100]
    other = random_rows(30, 5, 1)
    whole = neighbours_kept(rows, other, queries, k=7)
    monkeypatch.setattr(similarity, "NUMBERS_AT_ONCE", 30)
    assert neighbours_kept(rows, other, queries, k=7).tolist() == whole.tolist()


def test_a_space_in_which_all_coincide_keeps_what_chance_keeps():
    same = unit_rows(np.ones((11, 3)), "rows")
    np.testing.assert_allclose(neighbours_kept(same, random_rows(11, 4), torch.arange(11), k=4), 40)


def test_self_is_no_neighbour_even_where_all_similarities_are_negative():
    angles = np.array([0, 2, 4]) * np.pi / 3
    rows = unit_rows(np.stack((np.cos(angles), np.sin(angles + 0.1)), axis=1), "rows")
    turned = unit_rows(np.stack((np.cos(angles), np.sin(angles - 0.1)), axis=1), "rows")
    expected = [100 * len(nearest(rows, q, 1) & nearest(turned, q, 1)) for q in range(3)]
    assert neighbours_kept(rows, turned, torch.arange(3), k=1).tolist() == expected


def test_uniformity_equals_the_loop_and_is_zero_where_all_coincide():
    rows = random_rows(13, 5)
    pairs = [
        np.exp(-2 * float((rows[i] - rows[j]).double().square().sum()))
        for i in range(13)
        for j in range(13)
        if i != j
    ]
    assert uniformity(rows) == pytest.approx(np.log(np.mean(pairs)), abs=1e-6)
    assert uniformity(unit_rows(np.ones((5, 2)), "rows")) == pytest.approx(0, abs=1e-6)


def test_gap_and_alignment_of_opposite_modalities():
    image = unit_rows(np.tile([1.0, 0.0], (4, 1)), "image")
    text = unit_rows(np.tile([-1.0, 0.0], (4, 1)), "text")
    assert modality_gap(image, text) == pytest.approx(2)
    assert alignment(image, text).tolist() == [4, 4, 4, 4]
    assert alignment(image, image).tolist() == [0, 0, 0, 0]
