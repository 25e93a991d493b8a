"""Every verdict follows from the interval, the corrected p-value and the margin alone."""

from itertools import product

import pytest

from relalign.study.claims import ISD, MEAN_NDCG, RERANKED, all_claims, below, verdict
from relalign.study.contrast import Contrast

R, N, I = "reproduced", "not reproduced", "inconclusive"  # noqa: E741 (columns of letters are read at a glance)
SURE, UNSURE = 0.04, 0.06
# (low, difference, high) with a margin of 1, and the verdicts on `higher` and `kept` when p is SURE and UNSURE
CASES = [
    ((1.2, 2.0, 3.0), (R, I), (R, R)),
    ((0.2, 0.5, 0.9), (R, N), (R, R)),
    ((-0.5, 0.2, 2.0), (R, I), (R, R)),
    ((-0.5, 0.2, 0.9), (R, N), (R, R)),
    ((-2.0, 0.2, 2.0), (R, I), (I, I)),
    ((-2.0, -0.2, 2.0), (N, I), (N, I)),
    ((-0.9, -0.2, 2.0), (N, I), (R, R)),
    ((-0.9, -0.5, -0.2), (N, N), (R, R)),
    ((-2.0, -1.5, -0.2), (N, N), (N, I)),
    ((-3.0, -2.0, -1.2), (N, N), (N, N)),
]


@pytest.mark.parametrize(("numbers", "higher", "kept"), CASES)
def test_verdicts(numbers, higher, kept):
    low, difference, high = numbers
    for place, p in enumerate((SURE, UNSURE)):
        found, mirrored = Contrast(difference, low, high, p), Contrast(-difference, -high, -low, p)
        assert verdict(found, p, 1.0, "higher") == higher[place]
        assert verdict(mirrored, p, 1.0, "lower") == higher[place]
        assert verdict(found, p, 1.0, "kept") == kept[place]
        within = low > -1 and high < 1
        direction = "higher" if difference > 0 else "lower"
        expected = direction if p == SURE else "equal" if within else I
        assert verdict(found, p, 1.0, "either") == expected


def test_the_bounds_themselves_decide_nothing():
    assert verdict(Contrast(0.0, -1.0, 1.0, 1.0), 1.0, 1.0, "higher") == I
    assert verdict(Contrast(0.0, -1.0, 1.0, 1.0), 1.0, 1.0, "kept") == I
    assert verdict(Contrast(0.5, 0.1, 2.0, 0.05), 0.05, 1.0, "higher") == I


def test_without_numbers_there_is_no_verdict():
    nothing = Contrast(*[float("nan")] * 3, 1.0)
    assert {verdict(nothing, 1.0, 1.0, kind) for kind in ("higher", "lower", "kept", "either")} == {I}


def test_small_improvements_are_marked_in_their_own_direction():
    small, large = Contrast(0.4, 0.2, 0.9, 0.01), Contrast(1.4, 0.2, 1.9, 0.01)
    assert [below(one, 1.0, "higher") for one in (small, large)] == [True, False]
    mirrored = Contrast(-0.4, -0.9, -0.2, 0.01)
    assert [below(mirrored, 1.0, kind) for kind in ("lower", "kept", "either")] == [True, False, False]


def test_margins_are_those_of_the_metric_and_none_for_correlations_and_mixes():
    margins = {"rsum": 3.0, "ndcg": 0.5, "isd": 0.01}
    for claim, metric in product(all_claims(), ("rsum", RERANKED, "i2i/ndcg@10", MEAN_NDCG, *ISD)):
        family = next(family for family in margins if family in metric)
        expected = margins[family] if claim.test in ("difference", "growth") else None
        assert claim.margin(metric, margins) == expected


def test_without_a_margin_only_significance_and_any_loss_decide():
    shown, hidden = Contrast(0.5, 0.2, 0.8, SURE), Contrast(-0.5, -0.8, -0.2, UNSURE)
    assert verdict(hidden, UNSURE, None, "higher") == I
    assert verdict(shown, SURE, None, "higher") == R
    assert verdict(shown, UNSURE, None, "kept") == R
    assert verdict(hidden, UNSURE, None, "kept") == N
    assert not below(shown, None, "higher")


def test_no_claim_is_stated_twice():
    keys = [(c.variant, c.metrics, c.references, c.test, c.corrupted, c.outcome) for c in all_claims()]
    assert len(set(keys)) == len(keys)
