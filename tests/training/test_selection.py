"""The best run on validation is the best also where each seed has a split of its own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relalign.training.selection import above_others

rsums = st.dictionaries(
    st.tuples(st.sampled_from("abc"), st.integers(0, 3)), st.floats(0, 600), min_size=1, max_size=12
)


@given(rsums, st.floats(-100, 100))
def test_how_easy_a_seeds_split_is_changes_nothing(found: dict[tuple[str, int], float], easier: float) -> None:
    moved = {run: rsum + easier * (run[1] == 0) for run, rsum in found.items()}
    assert above_others(moved) == pytest.approx(above_others(found), abs=1e-9)


@given(rsums)
def test_within_a_seed_the_order_of_methods_is_that_of_their_rsum(found: dict[tuple[str, int], float]) -> None:
    scores = above_others(found)
    for run, rsum in found.items():
        for other, second in found.items():
            if run[1] == other[1]:
                assert scores[run] - scores[other] == pytest.approx(rsum - second, abs=1e-9)


def test_a_method_that_lacks_a_seed_moves_no_seeds_level() -> None:
    whole = {("a", 0): 300.0, ("b", 0): 310.0, ("a", 1): 200.0, ("b", 1): 214.0}
    part = whole | {("c", 1): 900.0}
    assert {run: score for run, score in above_others(part).items() if run[0] != "c"} == above_others(whole)
    assert above_others(part)["c", 1] == 900.0 - 207.0
