"""A teacher's objective, beside an obvious twin in plain loops."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from relalign.features.batches import SplitData
from relalign.features.table import Features, Table
from relalign.settings.teacher import Teacher
from relalign.teachers.single_modal import SingleModalTeacher, two_views
from tests.twins.objectives import slow_nt_xent_loss

WIDTH = 6


def features(rows: int, views: int, seed: int) -> Features:
    """Rows of as many views, each view with a pooled vector of its own."""
    pooled = torch.randn(rows * views, WIDTH, generator=torch.Generator().manual_seed(seed))
    lengths = torch.ones(rows * views, dtype=torch.long)
    table = Table(pooled[:, None], lengths, pooled, pooled, views=views)
    return Features(table, torch.arange(rows) * views)


def batch_of(read: Features):
    ids = torch.arange(len(read)).numpy()
    data = SplitData.build(ids, ids, ids, read, read)
    return data.batch(torch.arange(len(read)), torch.Generator().manual_seed(0))


def teacher(**chosen) -> SingleModalTeacher:
    torch.manual_seed(0)
    return SingleModalTeacher("image", Teacher(encoders=(), **chosen), width=WIDTH, encoder=None)


def slow_band(vectors: list[list[float]]) -> float:
    total = 0.0
    for one in vectors:
        for other in vectors:
            lengths = math.hypot(*one) * math.hypot(*other)
            cosine = sum(a * b for a, b in zip(one, other, strict=True)) / lengths
            total += max((cosine - 0.1) * (0.5 - cosine), 0.0)
    return total / len(vectors) ** 2


@settings(max_examples=25)
@given(st.integers(0, 999), st.integers(2, 7), st.integers(1, 3), st.sampled_from([0.0, 0.7]))
def test_the_loss_equals_the_twin_in_plain_loops(seed, rows, views, band_weight):
    read, learner = features(rows, views, seed), teacher(dropout=0.0, band_weight=band_weight, temperature=0.2)
    torch.nn.init.normal_(learner.head[-1].weight)  # else the head is nothing
    terms = learner.loss(batch_of(read), progress=0.0, generator=torch.Generator().manual_seed(seed))
    first, second = (
        learner.vectors(view).tolist() for view in two_views(read, torch.Generator().manual_seed(seed))
    )
    assert terms["contrast"].item() == pytest.approx(slow_nt_xent_loss(first, second, 0.2), abs=1e-4)
    assert terms.keys() == {"contrast"} | ({"band"} if band_weight else set())
    if band_weight:
        assert terms["band"].item() == pytest.approx(band_weight * slow_band(first), abs=1e-5)


@pytest.mark.parametrize("views", [2, 3, 5])
def test_two_views_are_different_ones_of_the_same_row_and_all_are_drawn(views):
    read, generator = features(40, views, 0), torch.Generator().manual_seed(0)
    drawn = set()
    for _ in range(20):
        first, second = two_views(read, generator)
        assert torch.equal(first.rows // views, read.rows // views)
        assert torch.equal(second.rows // views, read.rows // views)
        assert (first.rows != second.rows).all()
        drawn |= set(zip((first.rows % views).tolist(), (second.rows % views).tolist(), strict=True))
    assert len(drawn) == views * (views - 1)


def test_it_starts_as_the_frozen_encoder():
    read = features(5, 1, 0)
    expected = torch.nn.functional.normalize(read.pooled, dim=1)
    torch.testing.assert_close(teacher().eval().vectors(read), expected)


def test_where_there_is_one_view_two_differ_by_dropout():
    read, learner = features(30, 1, 0), teacher(dropout=0.3)
    first, second = (learner.train().vectors(view) for view in two_views(read, torch.Generator()))
    assert not torch.equal(first, second)
