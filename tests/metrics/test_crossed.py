"""Intervals over seeds and images equal the analysis of variance written out, cover, and bound false claims."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import t, ttest_1samp

from relalign.metrics.crossed import Errors, crossed_errors, equivalence_p, one_sided_p, reach, two_sided_p
from relalign.metrics.resampling import draw_weights, percentile_interval
from relalign.metrics.significance import holm

ERRORS = st.builds(Errors, st.floats(0, 9), st.floats(0.01, 9), st.integers(2, 6), st.integers(2, 900))


def written_out(table):
    """Both squared errors by mean squares of a two-way table, cell by cell."""
    seeds, images = table.shape
    mean, rows, columns = table.mean(), table.mean(1), table.mean(0)
    of_seeds = images * sum((row - mean) ** 2 for row in rows) / (seeds - 1)
    of_images = seeds * sum((column - mean) ** 2 for column in columns) / (images - 1)
    cells = product(range(seeds), range(images))
    of_both = sum((table[s, i] - rows[s] - columns[i] + mean) ** 2 for s, i in cells)
    of_both /= (seeds - 1) * (images - 1)
    return of_seeds / table.size, max(of_images - of_both, 0) / table.size


@given(
    st.tuples(st.integers(2, 4), st.integers(2, 4)).flatmap(
        lambda shape: arrays(np.float64, shape, elements=st.integers(-4, 4).map(float))
    )
)
def test_errors_are_those_of_the_analysis_of_variance_when_every_bootstrap_sample_is_drawn(table):
    images = table.shape[1]
    every = np.array([np.bincount(drawn, minlength=images) for drawn in product(range(images), repeat=images)])
    found = crossed_errors(table.mean(1), table @ every.T / images, images)
    assert (found.trainings, found.pictures) == pytest.approx(written_out(table), abs=1e-9)


@given(ERRORS, st.floats(-20, 20))
def test_an_interval_at_one_less_p_ends_at_nothing(errors, effect):
    (p,) = two_sided_p(np.array([effect]), [errors])
    if abs(effect) > 1e-6 and p > 1e-12:
        assert reach(errors, 1 - p) == pytest.approx(abs(effect), rel=1e-3)
    assert min(one_sided_p(effect, errors), one_sided_p(-effect, errors)) == pytest.approx(p / 2)


def test_without_a_difference_between_images_it_is_students_t_over_seeds():
    values = np.array([0.4, 1.1, 0.9, 0.2])
    errors = crossed_errors(values, np.tile(values[:, None], 7), 30)
    expected = ttest_1samp(values, 0.0)
    assert two_sided_p(values.mean(keepdims=True), [errors])[0] == pytest.approx(expected.pvalue)
    interval = expected.confidence_interval(0.9)
    assert reach(errors, 0.9) == pytest.approx((interval.high - interval.low) / 2)


def test_seeds_that_agree_leave_the_error_of_the_images():
    image = np.random.default_rng(0).normal(size=40)
    estimates = np.tile(draw_weights(40, 20_000, seed=1) @ image / 40, (3, 1))
    errors = crossed_errors(np.full(3, image.mean()), estimates, 40)
    assert errors.trainings == 0
    assert reach(errors, 0.95) == pytest.approx(t.ppf(0.975, 39) * image.std(ddof=1) / 40**0.5, rel=0.02)


def test_one_seed_has_no_errors_over_seeds():
    with pytest.raises(ValueError, match=r"1 seed\(s\)"):
        crossed_errors(np.ones(1), np.ones((1, 9)), 9)


def test_equal_is_what_both_one_sided_tests_show():
    small, wide = Errors(0.01, 0.02, 5, 300), Errors(1.0, 2.0, 5, 300)
    assert equivalence_p(0.1, small, 1.0) < 0.01 < 0.5 < equivalence_p(1.2, small, 1.0)
    assert equivalence_p(0.1, wide, 1.0) > 0.05, "failing to differ is not being equal"
    for effect in (-0.7, 0.2):
        inside = abs(effect) + reach(small, 0.9) < 1
        assert (equivalence_p(effect, small, 1.0) < 0.05) == inside, "as the 90 % interval within the margin"


IMAGES, SAMPLES = 80, 300
# Shares of the variance of a mean: of seeds, of images, of both together.
WORLDS = [(0, 1, 0), (0.2, 0.8, 0), (0.5, 0.5, 0), (0.8, 0.2, 0), (1, 0, 0), (0.3, 0.4, 0.3), (0, 0, 1)]


def worlds(random, seeds, shares, tests=1):
    """Tables (seed, image, test) whose mean has variance 1 and expectation 0."""
    deviations = np.sqrt(np.multiply(shares, (seeds, IMAGES, seeds * IMAGES)))
    sizes = (seeds, 1, tests), (1, IMAGES, tests), (seeds, IMAGES, tests)
    return sum(d * random.normal(size=size) for d, size in zip(deviations, sizes, strict=True))


@pytest.mark.parametrize(("seeds", "most"), [(3, 0.98), (5, 0.97)])
@pytest.mark.parametrize("shares", WORLDS)
def test_intervals_hold_the_truth_as_often_as_promised(seeds, most, shares):
    """Between 93 and 97 % at five seeds; at three up to 98 %: too wide, not too narrow."""
    random, weights = np.random.default_rng(seeds), draw_weights(IMAGES, SAMPLES, seed=0) / IMAGES
    held = []
    for _ in range(1200):
        table = worlds(random, seeds, shares)[..., 0]
        errors = crossed_errors(table.mean(1), table @ weights.T, IMAGES)
        held.append(abs(table.mean()) <= reach(errors, 0.95))
    assert 0.93 <= np.mean(held) <= most


@pytest.mark.parametrize("seeds", [3, 5])
def test_bootstrapping_seeds_and_then_images_would_be_too_narrow(seeds):
    random, weights = np.random.default_rng(0), draw_weights(IMAGES, SAMPLES, seed=0) / IMAGES
    drawn = draw_weights(seeds, SAMPLES, seed=1) / seeds
    held = []
    for _ in range(1000):
        table = worlds(random, seeds, (0.8, 0.2, 0))[..., 0]
        low, high = percentile_interval(((drawn @ table) * weights).sum(1), 0.95)
        held.append(low <= 0 <= high)
    assert np.mean(held) < {3: 0.85, 5: 0.91}[seeds]


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("shares", [(0.5, 0.5, 0), (0.9, 0.1, 0), (0, 0.5, 0.5)])
def test_a_family_of_twelve_has_a_false_claim_in_one_of_twenty_at_most(seeds, shares):
    random, weights = np.random.default_rng(seeds), draw_weights(IMAGES, SAMPLES, seed=0) / IMAGES
    false = []
    for _ in range(250):
        systems = worlds(random, seeds, shares, tests=13)
        table = systems[..., 1:] - systems[..., :1]  # all against one baseline
        errors = [crossed_errors(one.mean(1), one @ weights.T, IMAGES) for one in np.moveaxis(table, 2, 0)]
        false.append(holm(two_sided_p(table.mean((0, 1)), errors)).min() < 0.05)
    assert np.mean(false) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 250)
