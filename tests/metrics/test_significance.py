from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import permutation_test

from relalign.metrics.significance import holm, sign_flip_test


def exact_p(differences):
    observed = abs(sum(differences))
    sums = [abs(np.dot(signs, differences)) for signs in product((-1, 1), repeat=len(differences))]
    return np.mean([value >= observed - 1e-9 for value in sums])


def test_sign_flips_approach_the_exact_p_value():
    rng = np.random.default_rng(0)
    columns = np.stack([rng.normal(shift, 1, 10) for shift in (0, 0.4, 1)], axis=1)
    estimate = sign_flip_test(columns, permutations=20_000, seed=0)
    np.testing.assert_allclose(estimate, [exact_p(column) for column in columns.T], atol=0.012)


def test_agrees_with_scipy():
    column = np.random.default_rng(1).normal(0.3, 1, 40)
    other = permutation_test(
        (column, np.zeros(40)), lambda a, b: np.mean(a - b), permutation_type="samples", n_resamples=20_000, rng=0
    )
    ours = sign_flip_test(column[:, None], permutations=20_000, seed=0)[0]
    assert ours == pytest.approx(other.pvalue, abs=0.015)


def test_no_difference_gives_one_and_a_p_value_is_never_zero():
    columns = np.stack([np.zeros(50), np.ones(50)], axis=1)
    assert sign_flip_test(columns, permutations=99, seed=0).tolist() == [1.0, 0.01]


def test_false_alarms_are_as_rare_as_promised():
    columns = np.random.default_rng(2).standard_normal((30, 2000))
    assert np.mean(sign_flip_test(columns, permutations=199, seed=0) <= 0.05) == pytest.approx(0.05, abs=0.015)


def test_holm_on_a_worked_example():
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_lies_between_the_raw_and_the_bonferroni_value_and_keeps_the_order(values):
    raw = np.array(values)
    adjusted = holm(raw)
    assert (adjusted >= raw).all()
    assert (adjusted <= np.minimum(raw * len(raw), 1) + 1e-12).all()
    assert (np.diff(adjusted[np.argsort(raw, kind="stable")]) >= 0).all()
