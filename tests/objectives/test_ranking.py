import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from relalign.errors import RelalignError
from relalign.objectives.ranking import hardest_negatives, in_batch_triplet_loss, sigmoid_triplet_loss
from tests.twins.objectives import slow_triplet_loss


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 999), st.lists(st.integers(0, 3), min_size=1, max_size=6), st.booleans())
def test_in_batch_loss_equals_the_slow_twin_with_tied_ids(seed, ids, hardest):
    size = len(ids)
    scores = torch.rand(size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    fast = in_batch_triplet_loss(scores, ids=torch.tensor(ids), margin=0.2, hardest=hardest)
    assert fast.item() == pytest.approx(slow_triplet_loss(scores.tolist(), ids, 0.2, hardest), abs=1e-12)


def test_sigmoid_triplet_is_the_margin_at_a_tie_and_zero_when_well_apart():
    assert sigmoid_triplet_loss(torch.zeros(2), torch.zeros(2, 3)).item() == pytest.approx(0.2)
    assert sigmoid_triplet_loss(torch.full((2,), 9.0), torch.full((2, 3), -9.0)).item() == 0.0


def test_31_hardest_of_many_are_the_highest_that_are_admissible():
    scores = torch.randn(4, 400, generator=torch.Generator().manual_seed(0))
    admissible = torch.ones(4, 400, dtype=torch.bool)
    admissible[:, ::3] = False
    chosen = hardest_negatives(scores, admissible=admissible, count=31)
    for row, columns in enumerate(chosen.tolist()):
        allowed = [column for column in range(400) if column % 3]
        assert set(columns) == set(sorted(allowed, key=lambda c, r=row: -scores[r, c])[:31])


def test_too_few_candidates_is_an_error_that_names_the_remedy():
    with pytest.raises(RelalignError, match="training.batch_size"):
        hardest_negatives(torch.zeros(1, 3), admissible=torch.tensor([[True, True, False]]), count=3)
