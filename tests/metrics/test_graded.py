import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from relalign.metrics.ndcg import ndcg
from relalign.metrics.precision import precision_at_r
from relalign.metrics.tied import EXCLUDED
from tests.twins import ranking as twin


def one_query(values):
    return torch.tensor([values], dtype=torch.float64)


candidates = st.integers(1, 6).flatmap(
    lambda n: st.tuples(
        st.lists(st.sampled_from([-0.5, 0.0, 0.1, 0.9]), min_size=n, max_size=n),
        st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=n, max_size=n),
    )
)


@settings(max_examples=80, deadline=None)
@given(problem=candidates, k=st.integers(1, 8))
def test_ndcg_is_the_mean_over_all_orders_of_the_tied(problem, k):
    scores, gains = problem
    found = ndcg(one_query(scores), one_query(gains), ks=(k,))[k].item()
    if any(gains):
        assert found == pytest.approx(twin.ndcg(scores, gains, k))
    else:
        assert np.isnan(found)


@settings(max_examples=80, deadline=None)
@given(problem=candidates)
def test_precision_is_the_mean_over_all_orders_of_the_tied(problem):
    scores, gains = problem
    relevant = [gain > 0.3 for gain in gains]
    found = precision_at_r(one_query(scores), torch.tensor([relevant]))
    if any(relevant):
        average, at_r = twin.precision_at_r(scores, relevant)
        assert found.mean_average_precision.item() == pytest.approx(average)
        assert found.r_precision.item() == pytest.approx(at_r)
    else:
        assert np.isnan(found.r_precision.item())


def test_queries_of_one_block_do_not_touch_each_other():
    rng = np.random.default_rng(0)
    scores, gains = rng.integers(0, 4, (9, 6)) / 4.0, rng.integers(0, 3, (9, 6)) / 2.0
    gains[:, 0] = 1
    together = ndcg(torch.tensor(scores), torch.tensor(gains), ks=(1, 4))
    precision = precision_at_r(torch.tensor(scores), torch.tensor(gains > 0.5))
    for row in range(9):
        for k in (1, 4):
            assert together[k][row].item() == pytest.approx(twin.ndcg(scores[row], gains[row], k))
        assert precision.mean_average_precision[row].item() == pytest.approx(
            twin.precision_at_r(scores[row], gains[row] > 0.5)[0]
        )


def test_published_toy_value_with_linear_gain():
    assert ndcg(one_query([0.8, 0.9, 0.1]), one_query([1, 0.5, 0]), ks=(10,))[10].item() == pytest.approx(
        100 * (0.5 + 1 / np.log2(3)) / (1 + 0.5 / np.log2(3))
    )


def test_ranking_by_relevance_is_perfect_and_an_excluded_candidate_never_counts():
    gains = one_query([0.9, 0.0, 0.3, 0.6])
    scores = torch.tensor([[-0.1, EXCLUDED, -0.7, -0.3]], dtype=torch.float64)
    assert ndcg(scores, gains, ks=(1, 3, 4, 10))[10].item() == pytest.approx(100)


def test_missing_relevant_candidates_lower_r_precision():
    # eccv-caption 0.1.0 says 1.0 for a ranking cut off after one of three relevant; the full ranking says 1/3.
    found = precision_at_r(one_query([0.9, 0.5, 0.4, 0.1, 0.0]), torch.tensor([[True, False, False, True, True]]))
    assert found.r_precision.item() == pytest.approx(100 / 3)
