import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from relalign.objectives.consistency import band_regulariser, nt_xent_loss
from tests.twins.objectives import slow_nt_xent_loss


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 999), st.integers(1, 6), st.booleans())
def test_nt_xent_equals_the_slow_twin(seed, rows, tied):
    first, second = torch.randn(2, rows, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    second = first if tied else second
    expected = slow_nt_xent_loss(first.tolist(), second.tolist(), 0.1)
    assert nt_xent_loss(first, second, temperature=0.1).item() == pytest.approx(expected, abs=1e-9)


def test_nt_xent_gives_the_documented_value():
    eye = torch.eye(2)
    assert nt_xent_loss(eye, eye, temperature=1.0).item() == pytest.approx(math.log(1 + 2 / math.e))


def test_band_counts_only_similarities_inside_it():
    # With themselves 1 and 3.99, outside the band; with each other 0.3, both ways.
    vectors = torch.tensor([[1.0, 0.0], [0.3, 3.9**0.5]], dtype=torch.float64)
    assert band_regulariser(vectors).item() == pytest.approx(2 * 0.2 * 0.2)
    assert band_regulariser(torch.eye(3)).item() == 0.0


def test_the_band_is_not_rounded_under_autocast():
    vectors = torch.randn(32, 16, generator=torch.Generator().manual_seed(0)) / 4
    with torch.autocast("cpu", torch.bfloat16):
        rounded = band_regulariser(vectors)
    torch.testing.assert_close(rounded, band_regulariser(vectors))
