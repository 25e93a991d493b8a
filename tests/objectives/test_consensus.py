import pytest
import torch

from relalign.objectives.consensus import (
    calibrated_relation_kl,
    calibrated_relations,
    softened_targets,
    trust,
)
from relalign.objectives.relation import standardised_rows


def _normal(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _raters(noise, *, seed=0, items=200):
    """Three raters of one truth, each with its own share of noise, standardised."""
    truth, *errors = _normal(seed, 4, items, items)
    return [standardised_rows(truth + level * error) for level, error in zip(noise, errors, strict=True)]


def test_calibration_forgets_a_common_direction_and_the_scale():
    vectors = _normal(0, 8, 5)
    torch.testing.assert_close(calibrated_relations(vectors), calibrated_relations(3 * vectors + 7))


def test_trust_recovers_the_weights_of_the_best_estimate_of_a_common_factor():
    noise = (0.5, 1.0, 1.5)
    # The best linear estimate of the truth from standardised raters weighs loading / (1 - loading^2).
    loadings = torch.tensor([1 / (1 + level**2) ** 0.5 for level in noise], dtype=torch.float64)
    expected = loadings / (1 - loadings**2)
    torch.testing.assert_close(trust(*_raters(noise)), expected / expected.sum(), atol=0.04, rtol=0)


def test_teachers_that_agree_alike_weigh_a_third_each_and_order_only_permutes():
    same = _raters((0.0, 0.0, 0.0))
    torch.testing.assert_close(trust(*same), torch.full((3,), 1 / 3).double())
    first, second, third = _raters((0.3, 1.0, 2.0))
    torch.testing.assert_close(trust(third, first, second), trust(first, second, third)[[2, 0, 1]])


def test_a_teacher_that_is_noise_gets_next_to_nothing_and_more_noise_never_more():
    shares = [trust(*_raters((0.5, 0.5, level)))[2].item() for level in (0.2, 0.5, 1.0, 2.0, 1e6)]
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] < 0.05
    assert (
        trust(*(rater.negative() if i == 2 else rater for i, rater in enumerate(_raters((0.5, 0.5, 0.5)))))
        .isfinite()
        .all()
    )


@pytest.mark.parametrize("seed", range(8))
def test_two_teachers_that_agree_weigh_alike_beside_one_that_is_noise(seed):
    """Of their agreements with noise, which are noise, nothing is concluded."""
    first, second, noise = trust(*_raters((1.5, 1.5, 1e6), seed=seed)).tolist()
    assert first == pytest.approx(second, rel=0.5)
    assert noise < 0.5 * min(first, second)


def test_relation_kl_is_zero_for_any_offset_and_spread_and_holds_the_target():
    target = standardised_rows(_normal(1, 6, 5)).requires_grad_()
    assert calibrated_relation_kl(0.2 * target + 3, target, sharpness=2.0).item() == pytest.approx(0, abs=1e-12)
    student = _normal(2, 6, 5).requires_grad_()
    loss = calibrated_relation_kl(student, target, sharpness=2.0)
    loss.backward()
    assert loss.item() > 0.1
    assert target.grad is None
    assert student.grad.abs().sum() > 0


def test_relation_kl_by_hand():
    target, student = torch.tensor([[1.0, -1.0]]), torch.tensor([[-3.0, 5.0]])
    p = torch.tensor([2.0, -2.0]).softmax(0)
    expected = (p * (p.log() - p.flip(0).log())).sum()
    torch.testing.assert_close(calibrated_relation_kl(student, target, sharpness=2.0), expected)


def test_softened_targets_are_rows_of_shares_with_the_item_itself_first():
    relations = standardised_rows(_normal(3, 5, 4))
    targets = softened_targets(relations, share=0.3, sharpness=1.5)
    torch.testing.assert_close(targets.sum(1), torch.ones(5).double())
    torch.testing.assert_close(targets.diagonal(), torch.full((5,), 0.7).double())
    for row in range(5):
        others = torch.cat([targets[row, :row], targets[row, row + 1 :]])
        torch.testing.assert_close(others, 0.3 * (1.5 * relations[row]).softmax(0))
    assert torch.equal(softened_targets(relations, share=0.0, sharpness=1.0), torch.eye(5).double())
