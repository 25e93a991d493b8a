import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance

from relalign.objectives.distillation import relation_structure_loss, structure_loss, wasserstein_rows
from relalign.objectives.similarity import cosine_matrix, off_diagonal
from tests.twins.objectives import slow_structure_mae


def _teachers(seed, rows=7):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(rows, width, generator=generator, dtype=torch.float64) for width in (6, 5, 4)]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 999), st.integers(2, 7), st.floats(-0.5, 1.5), st.floats(0.05, 2))
def test_absolute_distances_equal_the_slow_twin(seed, rows, mix, temperature):
    arrays = _teachers(seed, rows)
    loss = structure_loss(*arrays, mix=mix, temperature=temperature)
    slow = slow_structure_mae(*(array.tolist() for array in arrays), mix, temperature)
    for fast, expected in zip((loss.student, loss.image, loss.text), slow, strict=True):
        assert fast.item() == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("mix", [-0.3, 0.0, 0.4, 1.0, 1.7])
def test_teacher_terms_are_the_mix_times_the_teachers_disagreement(mix):
    student, image, text = _teachers(1)
    loss = structure_loss(student, image, text, mix=mix, temperature=0.07)
    apart = off_diagonal(cosine_matrix(image, image) - cosine_matrix(text, text)).abs().mean() / 0.07
    torch.testing.assert_close(loss.image, abs(mix) * apart)
    torch.testing.assert_close(loss.text, abs(1 - mix) * apart)


def test_teacher_terms_cannot_choose_a_mix_inside_the_unit_interval_and_only_pull_it_back_inside():
    student, image, text = _teachers(2)
    slopes = []
    for start in (-0.5, 0.3, 0.9, 1.5):
        mix = torch.tensor(start, dtype=torch.float64, requires_grad=True)
        loss = structure_loss(student, image, text, mix=mix, temperature=1.0)
        slopes.append(torch.autograd.grad(loss.image + loss.text, mix)[0].item())
    assert slopes[0] < 0 < slopes[3]
    assert slopes[1] == pytest.approx(0, abs=1e-12) == slopes[2]


def test_growing_temperature_shrinks_every_term_at_no_gain():
    arrays = _teachers(3)
    cold, hot = (structure_loss(*arrays, mix=0.4, temperature=t) for t in (0.1, 1.0))
    for name in ("student", "image", "text"):
        torch.testing.assert_close(getattr(cold, name), 10 * getattr(hot, name))


@pytest.mark.parametrize("distance", ["mae", "mse", "cumulative", "wasserstein"])
def test_gradients_reach_student_and_mix_but_never_the_teachers(distance):
    student, image, text = (array.requires_grad_() for array in _teachers(4))
    mix = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    loss = structure_loss(student, image, text, mix=mix, temperature=0.5, distance=distance)
    (loss.student + loss.image + loss.text).backward()
    assert image.grad is None
    assert text.grad is None
    assert student.grad.abs().sum() > 0
    assert mix.grad != 0


@pytest.mark.parametrize("distance", ["mae", "mse", "cumulative"])
def test_teacher_terms_leave_the_student_alone(distance):
    student, image, text = (array.requires_grad_() for array in _teachers(5))
    mix = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    loss = structure_loss(student, image, text, mix=mix, temperature=0.5, distance=distance)
    (gradient,) = torch.autograd.grad(loss.image + loss.text, student, allow_unused=True)
    assert gradient is None


@pytest.mark.parametrize("distance", ["mae", "mse", "cumulative", "wasserstein"])
def test_a_student_with_the_mixed_relations_has_no_loss(distance):
    _, image, text = _teachers(6)
    image, text = cosine_matrix(image, image), cosine_matrix(text, text)
    mixed = 0.3 * text + 0.7 * image
    loss = relation_structure_loss(mixed, image, text, mix=0.3, temperature=0.1, distance=distance)
    assert loss.student.item() == pytest.approx(0, abs=1e-9)


def test_squared_and_cumulative_distances_by_hand():
    student, teacher = torch.tensor([[1.0, 0.5], [0.2, 1.0]]), torch.eye(2)
    losses = {
        name: relation_structure_loss(student, teacher, teacher, mix=0.5, temperature=1.0, distance=name).student
        for name in ("mse", "cumulative", "mae")
    }
    assert losses["mae"].item() == pytest.approx((0.5 + 0.2) / 2)
    assert losses["mse"].item() == pytest.approx((0.25 + 0.04) / 2)
    assert losses["cumulative"].item() == pytest.approx((0.5 + 0.7) / 2)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 999), st.integers(1, 6), st.booleans())
def test_wasserstein_rows_equal_scipy_with_weights_and_ties(seed, items, tied):
    generator = torch.Generator().manual_seed(seed)
    first, second, weights = torch.rand(3, 4, items, generator=generator, dtype=torch.float64)
    if tied:
        first, second = first.round(decimals=1), second.round(decimals=1)
    rows = zip(*(array.tolist() for array in (first, second, weights)), strict=True)
    expected = [wasserstein_distance(a, b, w, w) for a, b, w in rows]
    torch.testing.assert_close(wasserstein_rows(first, second, weights), torch.tensor(expected).double())


def test_wasserstein_with_equal_weights_is_the_mean_difference_of_sorted_values():
    first, second = torch.randn(2, 3, 9, generator=torch.Generator().manual_seed(0))
    expected = (first.sort(1).values - second.sort(1).values).abs().mean(1)
    torch.testing.assert_close(wasserstein_rows(first, second, torch.ones(3, 9)), expected)


def test_wasserstein_ignores_items_of_no_weight_and_a_row_of_none_is_zero():
    first, second = torch.tensor([[1.0, 5.0], [1.0, 5.0]]), torch.tensor([[2.0, -9.0], [2.0, -9.0]])
    weights = torch.tensor([[3.0, 0.0], [0.0, 0.0]])
    assert wasserstein_rows(first, second, weights).tolist() == [1.0, 0.0]
