import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from relalign.metrics.attention_entropy import relative_entropy


def slow(block, rows, columns):
    """Row by row, over the real columns alone."""
    shares = []
    for row in range(len(rows)):
        if rows[row]:
            real = [float(block[row, column]) for column in range(len(columns)) if columns[column]]
            entropy = -sum(p * np.log(p) for p in real if p > 0)
            shares.append(entropy / np.log(len(real)) if len(real) > 1 else 1.0)
    return np.mean(shares)


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 6)), min_size=1, max_size=4), st.integers(0, 9))
def test_padded_batches_equal_pairs_one_by_one(sizes, seed):
    rng = np.random.default_rng(seed)
    tall, wide = max(r for r, _ in sizes), max(c for _, c in sizes)
    block = np.zeros((len(sizes), tall, wide), dtype=np.float32)
    rows, columns = np.zeros((len(sizes), tall), dtype=bool), np.zeros((len(sizes), wide), dtype=bool)
    for pair, (r, c) in enumerate(sizes):
        block[pair, :r, :c] = rng.dirichlet(np.full(c, 0.3), r)
        rows[pair, :r], columns[pair, :c] = True, True
    found = relative_entropy(*map(torch.from_numpy, (block, rows, columns)))
    expected = [slow(*parts) for parts in zip(block, rows, columns, strict=True)]
    assert found.numpy() == pytest.approx(expected, abs=1e-5)


def test_uniform_is_one_and_one_column_alone_is_zero():
    real = torch.ones(1, 3, dtype=torch.bool)
    assert relative_entropy(torch.full((1, 3, 3), 1 / 3), real, real).item() == pytest.approx(1)
    assert relative_entropy(torch.eye(3)[None], real, real).item() == 0
