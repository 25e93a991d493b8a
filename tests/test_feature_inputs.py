import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from relalign.feature_inputs import _half, full_batches


@given(st.lists(st.integers(0, 1000), unique=True), st.integers(1, 7))
def test_batches_are_full_and_hold_every_row_once_in_order(rows: list[int], size: int) -> None:
    batches = list(full_batches(np.array(rows, dtype=np.int64), size))
    assert all(len(batch) == size and 1 <= real <= size for batch, real in batches)
    assert [row for batch, real in batches for row in batch[:real].tolist()] == rows
    assert all(set(batch.tolist()) == set(batch[:real].tolist()) for batch, real in batches)


def test_values_beyond_float16_saturate_instead_of_becoming_infinite() -> None:
    assert _half(torch.tensor([1e6, -1e6, 0.5])).tolist() == [65504.0, -65504.0, 0.5]
