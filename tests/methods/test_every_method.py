import pytest
import torch

from relalign.methods import TRAINED
from tests.methods.batches import gradients, loss_of, make_batch, make_method

ALGORITHMS = sorted(TRAINED)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_terms_and_gradients_are_finite(algorithm):
    method = make_method(algorithm)
    terms = loss_of(method, make_batch(size=40))
    assert all(term.shape == () and term.isfinite() for term in terms.values())
    assert all(gradient.isfinite().all() for gradient in gradients(method, terms).values())


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_equal_randomness_gives_equal_losses_and_gradients(algorithm):
    runs = []
    for _ in range(2):
        method = make_method(algorithm, dropout=0.2)
        terms = loss_of(method)
        runs.append((terms, gradients(method, terms)))
    (first, first_gradients), (second, second_gradients) = runs
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert all(torch.equal(first_gradients[name], second_gradients[name]) for name in first_gradients)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_few_steps_on_one_batch_lower_the_loss(algorithm):
    method = make_method(algorithm)
    optimizer = torch.optim.AdamW(method.parameters(), lr=3e-3)
    totals = []
    for _ in range(12):
        total = torch.stack(list(loss_of(method).values())).sum()
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(total.item())
    assert totals[-1] < 0.9 * totals[0]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_scalars_are_plain_numbers(algorithm):
    assert all(isinstance(value, float) for value in make_method(algorithm).scalars().values())
