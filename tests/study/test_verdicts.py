"""Every verdict follows from the effect, its standard errors, the corrected p-values and the margin alone."""

from itertools import product

import numpy as np
import pytest

from relalign.metrics.crossed import Errors, reach, two_sided_p
from relalign.study.claims import ISD, KEPT_I, KEPT_T, MEAN_NDCG, RERANKED, all_claims, headline
from relalign.study.contrast import Contrast
from relalign.study.verdicts import Answers, all_of, ask, below, verdict

R, N, E, I = "reproduced", "not reproduced", "equal", "inconclusive"  # noqa: E741 (columns read at a glance)


def measured(effect, half):
    """A contrast whose 95 % interval has this half width, over many seeds and images."""
    errors = Errors(0.0, 1.0, 5, 10**6)
    errors = Errors(0.0, (half / reach(errors, 0.95)) ** 2, 5, 10**6)
    p = float(two_sided_p(np.array([effect]), [errors])[0])
    return Contrast(effect, effect - half, effect + half, p, 0.0, 5, 1000, errors)


# Effect and half the width of its interval, with a margin of 1, and the verdicts on `higher`, `kept` and `either`.
CASES = [
    ((2.0, 1.0), (R, R, "higher")),
    ((0.5, 0.3), (R, R, "higher")),
    ((0.2, 0.5), (E, R, E)),
    ((0.2, 2.0), (I, I, I)),
    ((0.2, 1.3), (I, R, I)),
    ((-0.2, 0.5), (E, R, E)),
    ((-0.8, 1.5), (N, I, I)),
    ((-0.5, 0.3), (N, R, "lower")),
    ((-1.5, 1.2), (N, I, "lower")),
    ((-2.0, 0.7), (N, N, "lower")),
]


@pytest.mark.parametrize(("numbers", "expected"), CASES)
def test_verdicts(numbers, expected):
    found, mirrored = measured(*numbers), measured(-numbers[0], numbers[1])
    for kind, one in zip(("higher", "kept", "either"), expected, strict=True):
        assert verdict(found.difference, ask(found, 1.0, kind), kind) == one
    assert verdict(mirrored.difference, ask(mirrored, 1.0, "lower"), "lower") == expected[0]


def test_failing_to_differ_is_not_being_equal():
    wide = measured(0.0, 3.0)
    assert wide.p == 1
    assert verdict(0.0, ask(wide, 1.0, "higher"), "higher") == I


def test_a_correction_takes_a_verdict_back():
    found = measured(2.0, 1.9)
    answers = ask(found, 1.0, "higher")
    assert verdict(2.0, answers, "higher") == R
    assert verdict(2.0, Answers(2 * answers.holds, answers.equal, answers.short), "higher") == I


def test_without_errors_or_a_margin_only_significance_decides():
    correlation = Contrast(-0.5, -0.8, -0.2, 0.04)
    assert verdict(-0.5, ask(correlation, None, "lower"), "lower") == R
    assert verdict(-0.5, ask(correlation, None, "higher"), "higher") == N
    assert ask(measured(0.0, 0.1), None, "higher") == Answers(1.0)
    assert verdict(-0.5, ask(measured(-0.5, 0.3), None, "kept"), "kept") == N, "any loss is one"
    assert verdict(float("nan"), Answers(1.0), "higher") == I


def test_a_claim_needs_all_of_its_comparisons():
    assert all_of([R, R]) == R
    assert all_of([R, I]) == I
    assert all_of([R, N]) == all_of([I, N]) == all_of([R, E]) == N
    assert all_of([E, E]) == E


def test_small_improvements_are_marked_in_their_own_direction():
    small, large = Contrast(0.4, 0.2, 0.9, 0.01), Contrast(1.4, 0.2, 1.9, 0.01)
    assert [below(one, 1.0, "higher") for one in (small, large)] == [True, False]
    mirrored = Contrast(-0.4, -0.9, -0.2, 0.01)
    assert [below(mirrored, 1.0, kind) for kind in ("lower", "kept", "either")] == [True, False, False]
    assert not below(small, None, "higher")


def test_margins_are_those_of_the_metric_and_none_for_correlations_and_mixes():
    margins = {"rsum": 3.0, "ndcg": 0.5, "isd": 0.01, "neighbours": 1.0}
    for claim, metric in product(all_claims(), ("rsum", RERANKED, "i2i/ndcg@10", MEAN_NDCG, *ISD, KEPT_I, KEPT_T)):
        family = next(family for family in margins if family in metric)
        expected = margins[family] if claim.test in ("difference", "poor", "slope") else None
        assert claim.margin(metric, margins) == expected


def test_no_claim_is_stated_twice():
    keys = [(c.variant, c.metrics, c.references, c.test, c.corrupted, c.outcome) for c in all_claims()]
    assert len(set(keys)) == len(keys)


def test_the_headline_compares_no_unlike_captions():
    assert not any(claim.unlike_captions for row in headline() for claim in row.claims)
