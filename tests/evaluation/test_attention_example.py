import torch

from relalign.evaluation.attention_example import through_regions


def test_counterpart_is_read_at_each_words_most_attended_region():
    image = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.8, 0.1], [0.25, 0.25, 0.5]])
    text = torch.tensor([[0.1, 0.2, 0.7], [0.9, 0.05, 0.05]])  # words look at regions 2 and 0
    expected = torch.tensor([[0.5, 0.25], [0.2, 0.5]])
    assert torch.allclose(through_regions(image, text), expected / expected.sum(1, keepdim=True))


def test_two_words_at_one_region_are_alike():
    found = through_regions(torch.eye(3), torch.tensor([[1.0, 0, 0], [1.0, 0, 0]]))
    assert torch.allclose(found, torch.full((2, 2), 0.5))
