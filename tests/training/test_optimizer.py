"""The optimiser is torch's AdamW, group by group, and comes back from its tensors bit for bit."""

import pytest
import torch
from torch import nn

from relalign.training.optimizer import BETAS, EPSILON, AdamW, Group


def parameters() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in ((4, 3), (3,), (), (2, 2))]


def gradients(members: list[nn.Parameter], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for place, parameter in enumerate(members):
        drawn = torch.randn(parameter.shape, generator=generator)
        parameter.grad = None if place == 3 and seed < 2 else drawn  # the last one joins late


def ours(members: list[nn.Parameter]) -> AdamW:
    return AdamW([Group(members[:2], 0.1, 0.3), Group(members[2:], 0.02, 0.0)])


def test_steps_are_those_of_torchs_adamw() -> None:
    first, second = parameters(), parameters()
    optimizer = ours(first)
    groups = [
        {"params": second[:2], "lr": 0.05, "weight_decay": 0.3},
        {"params": second[2:], "lr": 0.01, "weight_decay": 0.0},
    ]
    reference = torch.optim.AdamW(groups, betas=BETAS, eps=EPSILON)
    for seed in range(5):
        gradients(first, seed)
        gradients(second, seed)
        optimizer.step(0.5)
        reference.step()
    for one, other in zip(first, second, strict=True):
        torch.testing.assert_close(one, other)


def test_a_restored_optimizer_goes_on_bit_for_bit() -> None:
    whole, resumed = parameters(), parameters()
    optimizer, before = ours(whole), ours(resumed)
    for seed in range(4):
        gradients(whole, seed)
        optimizer.step(1.0)
    for seed in range(2):
        gradients(resumed, seed)
        before.step(1.0)
    after = ours(resumed)
    after.restore({name: tensor.clone() for name, tensor in before.tensors().items()})
    for seed in range(2, 4):
        gradients(resumed, seed)
        after.step(1.0)
    assert all(torch.equal(one, other) for one, other in zip(whole, resumed, strict=True))


def test_zero_grad_forgets_all_gradients() -> None:
    members = parameters()
    gradients(members, 5)
    ours(members).zero_grad()
    assert all(parameter.grad is None for parameter in members)


def test_a_step_without_gradients_moves_nothing() -> None:
    members = parameters()
    ours(members).step(1.0)
    for one, other in zip(members, parameters(), strict=True):
        assert one.item() == pytest.approx(other.item()) if one.ndim == 0 else torch.equal(one, other)
