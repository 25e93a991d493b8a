import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import pearsonr, spearmanr

from relalign.metrics.correlation import correlation

TIED = st.integers(-3, 3).map(float)
ANY = st.floats(-1e300, 1e300)


def pairs(values, smallest=0):
    return st.integers(smallest, 12).flatmap(lambda n: arrays(np.float64, (2, n), elements=values))


def slowly(first, second):
    """Pearson's correlation by definition; NaN if a side is constant."""
    points = list(zip(first.tolist(), second.tolist(), strict=True))
    if any(len(set(side.tolist())) < 2 for side in (first, second)):
        return float("nan")
    x, y = (sum(side) / len(points) for side in zip(*points, strict=True))
    shared = sum((a - x) * (b - y) for a, b in points)
    return shared / (sum((a - x) ** 2 for a, _ in points) * sum((b - y) ** 2 for _, b in points)) ** 0.5


def average_ranks(values):
    return np.array([sum(v < own for v in values) + (sum(v == own for v in values) + 1) / 2 for own in values])


@given(pairs(TIED))
def test_both_equal_the_definitions_on_tied_tiny_and_empty_input(given_pairs):
    found = correlation(*given_pairs)
    assert found.pearson == pytest.approx(slowly(*given_pairs), nan_ok=True)
    assert found.spearman == pytest.approx(slowly(*map(average_ranks, given_pairs)), nan_ok=True)
    assert found.n == given_pairs.shape[1]


@pytest.mark.parametrize("n", [4, 7, 30])
@pytest.mark.parametrize("confidence", [0.5, 0.95])
def test_agrees_with_scipy_and_its_fisher_interval(n, confidence):
    first, second = np.random.default_rng(n).normal(size=(2, n))
    second += first
    found = correlation(first, second, confidence=confidence)
    theirs = pearsonr(first, second)
    assert found.pearson == pytest.approx(theirs.statistic)
    assert found.pearson_interval == pytest.approx(tuple(theirs.confidence_interval(confidence)))
    assert found.spearman == pytest.approx(spearmanr(first, second).statistic)


@given(pairs(ANY))
def test_it_is_a_correlation_within_its_interval_or_nan_and_symmetric(given_pairs):
    found, swapped = correlation(*given_pairs), correlation(*given_pairs[::-1])
    constant = any(len(set(side.tolist())) < 2 for side in given_pairs)
    for name in ("pearson", "spearman"):
        value, interval = getattr(found, name), getattr(found, f"{name}_interval")
        assert np.isnan(value) == constant
        assert np.isnan(interval).all() == (constant or found.n < 3)
        assert constant or -1 <= value <= 1
        assert np.isnan(interval[0]) or -1 <= interval[0] <= value <= interval[1] <= 1
        assert value == pytest.approx(getattr(swapped, name), nan_ok=True)


@given(pairs(TIED), st.floats(0.1, 10), st.floats(-10, 10))
def test_scale_and_shift_change_nothing_and_a_sign_turns_it_over(given_pairs, scale, shift):
    first, second = given_pairs
    plain, moved = correlation(first, second), correlation(scale * first + shift, second)
    turned = correlation(-first, second)
    assert moved.pearson == pytest.approx(plain.pearson, nan_ok=True, abs=1e-9)
    assert turned.spearman == pytest.approx(-plain.spearman, nan_ok=True, abs=1e-9)
    low, high = plain.spearman_interval
    assert turned.spearman_interval == pytest.approx((-high, -low), nan_ok=True, abs=1e-9)


def test_constant_and_infinite_input_have_no_correlation():
    line = np.arange(5.0)
    for other in (np.full(5, 0.1), np.array([0.0, 1, 2, 3, np.inf]), np.array([0.0, 1, 2, 3, np.nan])):
        found = correlation(line, other)
        numbers = (found.pearson, found.spearman, *found.pearson_interval, *found.spearman_interval)
        assert np.isnan(numbers).all()


def test_perfect_ranks_among_few_points_are_not_taken_for_certain():
    few, more = (correlation(np.arange(n), np.exp(np.arange(n))) for n in (4.0, 12.0))
    assert few.spearman == pytest.approx(1)
    assert few.spearman_interval[0] < 0 < 0.8 < more.spearman_interval[0] < 0.999
    assert [few.spearman_interval[1], more.spearman_interval[1]] == pytest.approx([1, 1])
    assert correlation(np.arange(3.0), np.array([2.0, 0, 1])).pearson_interval == (-1, 1)


@pytest.mark.parametrize("n", [5, 10])
def test_intervals_hold_the_truth_as_often_as_promised_with_few_points(n):
    rng, truth, held = np.random.default_rng(n), 0.7, []
    for _ in range(500):
        first = rng.normal(size=n)
        found = correlation(first, truth * first + np.sqrt(1 - truth**2) * rng.normal(size=n))
        ranked = 6 / np.pi * np.arcsin(truth / 2)
        ends = (found.pearson_interval, truth), (found.spearman_interval, ranked)
        held.append([low <= value <= high for (low, high), value in ends])
    assert np.mean(held, axis=0) == pytest.approx(0.96, abs=0.035)
