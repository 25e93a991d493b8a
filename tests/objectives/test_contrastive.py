import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from relalign.objectives.contrastive import contrastive_loss, identity_targets, one_way_contrastive_loss
from tests.twins.objectives import slow_contrastive_loss


def _vectors(seed, rows, width=4):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, rows, width, generator=generator, dtype=torch.float64)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 999), st.lists(st.integers(0, 3), min_size=1, max_size=7), st.sampled_from([0.05, 1.0]))
def test_equals_the_slow_twin_with_tied_ids(seed, ids, temperature):
    image, text = _vectors(seed, len(ids))
    fast = contrastive_loss(image, text, temperature=temperature, ids=torch.tensor(ids))
    slow = slow_contrastive_loss(image.tolist(), text.tolist(), ids, temperature)
    assert fast.item() == pytest.approx(slow, abs=1e-9)


def test_without_ids_every_row_is_its_own_item():
    image, text = _vectors(0, 5)
    torch.testing.assert_close(
        contrastive_loss(image, text, temperature=0.1),
        contrastive_loss(image, text, temperature=0.1, ids=torch.arange(5)),
    )


def test_two_orthogonal_pairs_give_the_documented_value():
    eye = torch.eye(2)
    assert contrastive_loss(eye, eye, temperature=1.0).item() == pytest.approx(math.log(1 + math.exp(-1)))


def test_duplicates_of_an_item_are_not_each_others_negatives():
    same = torch.ones(3, 4)
    assert contrastive_loss(same, same, temperature=0.1, ids=torch.zeros(3, dtype=torch.long)).item() == (
        pytest.approx(math.log(3))
    )
    assert identity_targets(torch.zeros(3, 3), torch.tensor([7, 7, 9])).tolist() == [
        [0.5, 0.5, 0],
        [0.5, 0.5, 0],
        [0, 0, 1],
    ]


def test_scaling_the_vectors_changes_nothing():
    image, text = _vectors(1, 4)
    torch.testing.assert_close(
        contrastive_loss(image, text, temperature=0.1), contrastive_loss(3 * image, 0.2 * text, temperature=0.1)
    )


def test_both_ways_is_the_mean_of_two_one_ways():
    image, text = _vectors(2, 4)
    ids = torch.tensor([0, 1, 1, 2])
    ways = [one_way_contrastive_loss(*pair, temperature=0.2, ids=ids) for pair in ((image, text), (text, image))]
    torch.testing.assert_close(contrastive_loss(image, text, temperature=0.2, ids=ids), sum(ways) / 2)
