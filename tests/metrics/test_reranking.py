import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from relalign.metrics.ranks import TieGroup
from relalign.metrics.reranking import rerank
from relalign.metrics.success import tie_group
from tests.twins import ranking as twin


def first_stage(scores, relevant):
    return tie_group(torch.tensor([scores]).double(), torch.tensor([relevant]))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_first_k_by_logit_then_the_others_as_they_were(data):
    n = data.draw(st.integers(2, 8))
    k = data.draw(st.integers(1, n))
    scores = data.draw(st.permutations([float(i) for i in range(n)]))
    relevant = data.draw(st.lists(st.booleans(), min_size=n, max_size=n).filter(any))
    logits = data.draw(st.lists(st.sampled_from([-1.0, 0.0, 2.0]), min_size=k, max_size=k))
    order = sorted(range(n), key=lambda c: -scores[c])
    group = rerank(
        first_stage(scores, relevant), torch.tensor([logits]), torch.tensor([[relevant[c] for c in order[:k]]])
    )
    combined = dict(zip(order[:k], [100 + logit for logit in logits], strict=True))
    combined |= {c: scores[c] for c in order[k:]}
    places = twin.best_places([combined[c] for c in range(n)], relevant)
    assert group.expected_rank().item() == pytest.approx(np.mean(places))
    assert group.hit(2).item() == pytest.approx(np.mean([place <= 2 for place in places]))


def test_a_relevant_candidate_outside_the_first_k_gains_nothing():
    scores, relevant = [0.9, 0.8, 0.7, 0.6], [False, False, False, True]
    group = rerank(first_stage(scores, relevant), torch.tensor([[5.0, -5.0]]), torch.tensor([[False, False]]))
    assert group == TieGroup(torch.tensor([3]), torch.tensor([0]), torch.tensor([1]))


def test_constant_logits_give_chance_within_the_first_k():
    scores, relevant = [0.9, 0.8, 0.7, 0.6], [True, False, False, False]
    group = rerank(first_stage(scores, relevant), torch.zeros(1, 4), torch.tensor([relevant]))
    assert group.hit(1).item() == pytest.approx(0.25)
    assert group.expected_rank().item() == pytest.approx(2.5)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_truncated_ranking_never_scores_higher_than_the_full_one(data):
    n = data.draw(st.integers(2, 8))
    scores = data.draw(st.permutations([float(i) for i in range(n)]))
    relevant = data.draw(st.lists(st.booleans(), min_size=n, max_size=n).filter(any))
    full = first_stage(scores, relevant)
    order = sorted(range(n), key=lambda c: -scores[c])
    for depth in range(1, n + 1):
        first = order[:depth]
        cut = rerank(
            full, torch.tensor([[scores[c] for c in first]]), torch.tensor([[relevant[c] for c in first]])
        )
        assert cut.expected_rank() >= full.expected_rank()
        assert all(cut.hit(k) <= full.hit(k) for k in range(1, n + 1))
