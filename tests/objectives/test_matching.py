import pytest
import torch
from torch.nn import functional as F

from relalign.errors import RelalignError
from relalign.objectives.matching import listwise_matching_loss, matching_loss, sample_hard_negatives


def _sample(logits, ids, count=1, seed=0):
    return sample_hard_negatives(
        logits, query_ids=ids, candidate_ids=ids, generator=torch.Generator().manual_seed(seed), count=count
    )


def test_never_draws_the_same_image():
    ids = torch.tensor([0, 0, 1, 2])
    logits = torch.tensor([[9.0, 9, 0, 0]]).expand(4, 4)
    for seed in range(50):
        drawn = _sample(logits, ids, seed=seed)
        assert (ids[drawn[:, 0]] != ids).all()


def test_draws_different_candidates_and_reaches_all_of_them_in_proportion():
    logits = torch.tensor([0.0, 0.0, 0.7, 1.4]).expand(4000, 4)
    query_ids = torch.zeros(4000, dtype=torch.long)
    drawn = sample_hard_negatives(
        logits,
        query_ids=query_ids,
        candidate_ids=torch.tensor([0, 1, 2, 3]),
        generator=torch.Generator().manual_seed(0),
        count=2,
    )
    assert (drawn[:, 0] != drawn[:, 1]).all()
    share = drawn[:, 0].bincount(minlength=4) / len(drawn)
    torch.testing.assert_close(share, torch.tensor([0, *logits[0, 1:].softmax(0)]), atol=0.03, rtol=0)


def test_a_certain_softmax_still_yields_another_image():
    logits = torch.tensor([[1000.0, 0], [0, 1000]])
    assert _sample(logits, torch.tensor([4, 5])).tolist() == [[1], [0]]


def test_same_generator_state_draws_the_same():
    logits = torch.randn(30, 30, generator=torch.Generator().manual_seed(1))
    ids = torch.arange(30)
    assert torch.equal(_sample(logits, ids, seed=3), _sample(logits, ids, seed=3))
    assert not torch.equal(_sample(logits, ids, seed=3), _sample(logits, ids, seed=4))


def test_too_few_other_images_are_drawn_repeatedly():
    ids = torch.tensor([0, 1, 1])
    drawn = _sample(torch.zeros(3, 3), ids, count=2)
    assert (ids[drawn] != ids[:, None]).all()
    assert _sample(torch.zeros(2, 2), ids[:2], count=2).tolist() == [[1, 1], [0, 0]]


def test_no_other_image_is_an_error_that_names_the_remedy():
    with pytest.raises(RelalignError, match="training.batch_size"):
        _sample(torch.zeros(3, 3), torch.tensor([1, 1, 1]), count=2)


def test_matching_loss_equals_cross_entropy_of_a_two_output_head():
    logits = torch.randn(9, generator=torch.Generator().manual_seed(0))
    head = torch.stack([torch.zeros(9), logits], dim=1)
    expected = F.cross_entropy(head, torch.tensor([1] * 3 + [0] * 6))
    torch.testing.assert_close(matching_loss(logits[:3], logits[3:]), expected)


def test_listwise_loss_ignores_pairs_that_were_not_scored():
    positive, negative = torch.tensor([2.0, 0.0]), torch.tensor([[1.0, 0.0], [3.0, -1.0]])
    matrix = torch.full((2, 6), -torch.inf)
    matrix[:, 0] = positive
    matrix[:, 2:4] = negative
    expected = F.cross_entropy(matrix, torch.tensor([0, 0]))
    torch.testing.assert_close(listwise_matching_loss(positive, negative), expected)
