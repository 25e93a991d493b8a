import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from relalign.objectives.clusters import farthest_point_clusters
from relalign.objectives.relation import cluster_kl, cosine_relation_kl, relation_kl, standardised_rows
from tests.twins.objectives import slow_cluster_kl, slow_cosine_relation_kl, slow_relation_kl

LOSSES = (relation_kl, cosine_relation_kl, cluster_kl)


def _vectors(seed, rows, *, tied=False):
    generator = torch.Generator().manual_seed(seed)
    student = torch.randn(rows, 5, generator=generator, dtype=torch.float64)
    teacher = torch.randn(rows, 3, generator=generator, dtype=torch.float64)
    if tied:
        student[1], teacher[-1] = student[0], teacher[0]
    return student, teacher


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 999), st.integers(2, 8), st.booleans())
def test_all_three_equal_their_slow_twins(seed, rows, tied):
    student, teacher = _vectors(seed, rows, tied=tied)
    pair = student.tolist(), teacher.tolist()
    assert relation_kl(student, teacher).item() == pytest.approx(slow_relation_kl(*pair), abs=1e-8)
    fast = cosine_relation_kl(student, teacher, student_temperature=0.2, teacher_temperature=0.5)
    assert fast.item() == pytest.approx(slow_cosine_relation_kl(*pair, 0.2, 0.5), abs=1e-9)
    clusters = farthest_point_clusters(teacher, clusters=min(3, rows)).tolist()
    fast = cluster_kl(student, teacher, clusters=3, temperature=0.3)
    assert fast.item() == pytest.approx(slow_cluster_kl(*pair, clusters, 0.3), abs=1e-9)


@pytest.mark.parametrize("loss", LOSSES)
def test_equal_relations_give_zero_whatever_the_scale_or_rotation(loss):
    teacher = _vectors(0, 9)[1]
    rotation = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1)).double()).Q
    assert loss(3 * teacher @ rotation, teacher).item() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("loss", LOSSES)
def test_other_relations_cost_and_the_order_of_items_does_not_matter(loss):
    student, teacher = _vectors(1, 9)
    value = loss(student, teacher)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(2))
    assert value.item() > 1e-4
    torch.testing.assert_close(loss(student[order], teacher[order]), value)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_student_learns_and_the_teacher_gets_no_gradient(loss):
    student, teacher = (vectors.requires_grad_() for vectors in _vectors(2, 6))
    loss(student, teacher).backward()
    assert teacher.grad is None
    assert student.grad is not None
    assert student.grad.abs().sum() > 0


@pytest.mark.parametrize("loss", LOSSES)
def test_autocast_to_bfloat16_does_not_change_the_value(loss):
    student, teacher = (vectors.float() for vectors in _vectors(3, 40))
    with torch.autocast("cpu", torch.bfloat16):
        lowered = loss(student, teacher)
    torch.testing.assert_close(lowered, loss(student, teacher))


def test_separate_groups_are_found_as_clusters():
    generator = torch.Generator().manual_seed(0)
    group = torch.arange(30) % 3
    vectors = torch.eye(3)[group] + 0.05 * torch.randn(30, 3, generator=generator)
    found = farthest_point_clusters(vectors, clusters=3)
    assert len(set(zip(group.tolist(), found.tolist(), strict=True))) == 3


def test_more_clusters_than_distinct_items_are_harmless():
    teacher = torch.ones(4, 3).double()
    assert cluster_kl(torch.eye(4).double(), teacher, clusters=99).item() == pytest.approx(0, abs=1e-9)


def test_standardised_rows_forget_offset_and_spread_and_survive_constants():
    rows = torch.randn(3, 8, generator=torch.Generator().manual_seed(0)).double()
    torch.testing.assert_close(standardised_rows(rows), standardised_rows(5 * rows + 2))
    torch.testing.assert_close(standardised_rows(rows).square().mean(1), torch.ones(3).double())
    assert standardised_rows(torch.full((1, 4), 0.3)).abs().max() == 0
