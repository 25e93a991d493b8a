"""Meta-gradients in float64 against closed forms, finite differences and the plain sum."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from relalign.objectives.meta import meta_step

ORDERS = ("first", "second")


class Point(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.theta = nn.Parameter(torch.as_tensor(value, dtype=torch.float64))


def _quadratic(matrix, centre):
    return lambda model: (model.theta - centre) @ matrix @ (model.theta - centre) / 2


def _random_quadratics(seed=0, size=4):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    roots = normal(2, size, size)
    matrices = roots @ roots.transpose(1, 2)
    return normal(size), [(matrix, normal(size)) for matrix in matrices]


@pytest.mark.parametrize("order", ORDERS)
def test_quadratics_have_the_gradient_derived_by_hand(order):
    theta, ((train_matrix, train_centre), (test_matrix, test_centre)) = _random_quadratics()
    model, step = Point(theta), 0.05
    value = meta_step(
        model,
        _quadratic(train_matrix, train_centre),
        _quadratic(test_matrix, test_centre),
        step_size=step,
        order=order,
    )
    value.backward()
    train_gradient = train_matrix @ (theta - train_centre)
    test_gradient = test_matrix @ (theta - step * train_gradient - test_centre)
    through = torch.eye(4).double() - step * train_matrix if order == "second" else torch.eye(4).double()
    torch.testing.assert_close(model.theta.grad, train_gradient + through @ test_gradient)


def test_documented_example():
    for order, gradient in (("first", 1.9), ("second", 1.81)):
        model = Point([1.0])
        task = _quadratic(torch.eye(1).double(), torch.zeros(1).double())
        value = meta_step(model, task, task, step_size=0.1, order=order)
        value.backward()
        assert value.item() == pytest.approx(0.905)
        assert model.theta.grad.item() == pytest.approx(gradient)


class Small(nn.Module):
    """Attention, normalisation, a nonlinearity, dropout and a parameter that only one task uses."""

    def __init__(self, dropout=0.0):
        super().__init__()
        self.query = nn.Linear(4, 4)
        self.norm = nn.LayerNorm(4)
        self.out = nn.Linear(4, 3)
        self.only_train = nn.Linear(3, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x):
        hidden = F.scaled_dot_product_attention(self.query(x), x, x)
        return self.out(self.dropout(torch.tanh(self.norm(hidden))))


def _small(dropout=0.0):
    torch.manual_seed(0)
    model = Small(dropout).double()
    x = torch.randn(2, 1, 5, 4, dtype=torch.float64)
    return (
        model,
        lambda m: m.only_train(m(x[0])).square().mean() + m(x[0]).sum().sin(),
        lambda m: m(x[1]).softmax(-1)[..., 0].log().mean().neg(),
    )


def _flat_gradient(model):
    return torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in model.parameters()])


def _fast_names(name):
    return name.startswith("query") or name == "out.weight"


@pytest.mark.parametrize("fast", [lambda name: True, _fast_names, lambda name: False])
def test_second_order_gradient_matches_finite_differences(fast):
    model, train, test = _small()
    meta_step(model, train, test, step_size=0.3, order="second", fast=fast).backward()
    gradient, found = _flat_gradient(model), []
    for parameter in model.parameters():
        flat = parameter.data.view(-1)
        for index in range(flat.numel()):
            original, values = flat[index].item(), []
            for change in (1e-5, -1e-5):
                flat[index] = original + change
                values.append(meta_step(model, train, test, step_size=0.3, order="second", fast=fast).item())
            flat[index] = original
            found.append((values[0] - values[1]) / 2e-5)
    torch.testing.assert_close(gradient, torch.tensor(found).double(), atol=1e-7, rtol=1e-6)


@pytest.mark.parametrize("fast", [lambda name: True, _fast_names])
def test_first_order_gradient_is_the_sum_of_two_plain_gradients(fast):
    model, train, test = _small()
    value = meta_step(model, train, test, step_size=0.3, order="first", fast=fast)
    value.backward()
    given = _flat_gradient(model)
    moved, _, _ = _small()
    train(moved).backward()
    train_gradient = _flat_gradient(moved)
    with torch.no_grad():
        for name, parameter in moved.named_parameters():
            if fast(name) and parameter.grad is not None:
                parameter -= 0.3 * parameter.grad
    moved.zero_grad(set_to_none=True)
    test_loss = test(moved)
    test_loss.backward()
    torch.testing.assert_close(given, train_gradient + _flat_gradient(moved))
    torch.testing.assert_close(value, train(model) + test_loss)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_step_size_zero_is_the_plain_sum_with_the_same_dropped_units(order, dropout):
    model, train, test = _small(dropout)
    torch.manual_seed(7)
    value = meta_step(model, train, test, step_size=0.0, order=order)
    value.backward()
    given, after = _flat_gradient(model), torch.rand(1)
    model.zero_grad()
    torch.manual_seed(7)
    plain = train(model)
    expected_after = torch.rand(1)
    torch.manual_seed(7)
    plain = plain + test(model)
    plain.backward()
    torch.testing.assert_close(value, plain)
    torch.testing.assert_close(given, _flat_gradient(model))
    assert torch.equal(after, expected_after)


@pytest.mark.parametrize("order", ORDERS)
def test_the_model_keeps_its_parameters_and_frozen_ones_stay_out(order):
    model, train, test = _small()
    model.query.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    meta_step(model, train, test, step_size=0.3, order=order).backward()
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert model.query.weight.grad is None
    assert model.out.weight.grad is not None


@pytest.mark.parametrize("order", ORDERS)
def test_agreeing_tasks_are_preferred(order):
    """Moving towards gradient agreement: among equal sums the outer loss is lower where gradients agree."""
    eye = torch.eye(2).double()
    values = []
    for theta in ([1.0, 0.0], [0.5, 0.75**0.5]):
        model = Point(theta)
        train, test = _quadratic(eye, torch.zeros(2).double()), lambda m: m.theta[0]
        plain = train(model) + test(model)
        values.append((meta_step(model, train, test, step_size=0.1, order=order) - plain).item())
    assert values[0] == pytest.approx(-0.1)
    assert values[1] == pytest.approx(-0.05)


class _Noted(torch.autograd.Function):
    """The identity; notes whether its backward pass runs under autocast."""

    seen: list[bool] = []

    @staticmethod
    def forward(ctx, value):
        return value.clone()

    @staticmethod
    def backward(ctx, gradient):
        _Noted.seen.append(torch.is_autocast_enabled("cpu"))
        return gradient


@pytest.mark.parametrize("order", ORDERS)
def test_the_inner_backward_pass_is_outside_autocast(order):
    model = torch.nn.Linear(2, 2)
    _Noted.seen.clear()
    with torch.autocast("cpu", torch.bfloat16):
        meta_step(
            model,
            lambda it: _Noted.apply(it(torch.ones(1, 2))).float().square().sum(),
            lambda it: it(torch.ones(1, 2)).float().sum(),
            step_size=0.1,
            order=order,
        )
    assert _Noted.seen == [False]
