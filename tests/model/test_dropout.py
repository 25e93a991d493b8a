import pytest
import torch

from relalign.model.dropout import Dropout


@pytest.mark.parametrize("share", [0.1, 0.5, 0.7])
def test_the_share_is_dropped_and_the_rest_keeps_the_mean(share: float) -> None:
    torch.manual_seed(0)
    dropped = Dropout(share)(torch.ones(1000, 501))
    assert (dropped == 0).float().mean().item() == pytest.approx(share, abs=0.003)
    assert dropped.unique().tolist() == pytest.approx([0, 1 / (1 - share)])


def test_values_are_dropped_independently_of_their_neighbours() -> None:
    torch.manual_seed(0)
    kept = (Dropout(0.5)(torch.ones(2000, 400)) != 0).float() - 0.5
    for shift in (1, 2, 3, 4):
        assert (kept[:, shift:] * kept[:, :-shift]).mean().abs().item() < 0.002


def test_a_gradient_passes_where_the_value_did() -> None:
    values = torch.ones(7, 3, requires_grad=True)
    dropped = Dropout(0.5)(values)
    dropped.sum().backward()
    assert torch.equal(values.grad, dropped.detach())


def test_nothing_is_dropped_outside_training_or_at_share_0() -> None:
    values = torch.randn(5, 5)
    assert torch.equal(Dropout(0.9).eval()(values), values)
    assert torch.equal(Dropout(0.0)(values), values)
    assert Dropout(0.5)(torch.ones(0, 3)).shape == (0, 3)


def test_equal_seeds_drop_the_same() -> None:
    drawn = []
    for _ in range(2):
        torch.manual_seed(3)
        drawn.append(Dropout(0.5)(torch.ones(11, 13)))
    assert torch.equal(*drawn)
