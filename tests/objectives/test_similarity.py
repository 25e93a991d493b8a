import pytest
import torch

from relalign.errors import RelalignError
from relalign.objectives.similarity import cosine_matrix, euclidean_matrix, off_diagonal


@pytest.mark.parametrize("size", [2, 3, 7])
def test_off_diagonal_keeps_everything_else_in_order(size):
    matrix = torch.arange(size * size).float().view(size, size)
    expected = torch.stack([torch.cat([row[:i], row[i + 1 :]]) for i, row in enumerate(matrix)])
    assert torch.equal(off_diagonal(matrix), expected)


def test_off_diagonal_of_a_transposed_matrix_reads_the_transpose():
    matrix = torch.arange(9).float().view(3, 3)
    assert off_diagonal(matrix.T)[0].tolist() == [3, 6]


def test_one_item_has_no_relations():
    with pytest.raises(RelalignError, match="no relations"):
        off_diagonal(torch.ones(1, 1))


def test_distances_of_unit_vectors_and_a_finite_gradient_where_rows_are_equal():
    vectors = torch.tensor([[2.0, 0.0], [1.0, 0.0], [0.0, 5.0], [-1.0, 0.0]], requires_grad=True)
    distances = euclidean_matrix(vectors)
    root = 2**0.5
    torch.testing.assert_close(distances[0], torch.tensor([0.0, 0.0, root, 2.0]))
    distances.sum().backward()
    assert vectors.grad is not None
    assert vectors.grad.isfinite().all()


def test_cosines_are_as_exact_under_autocast_and_keep_float64():
    generator = torch.Generator().manual_seed(0)
    rows, columns = torch.randn(2, 6, 8, generator=generator)
    with torch.autocast("cpu", torch.bfloat16):
        lowered = cosine_matrix(rows, columns)
    assert torch.equal(lowered, cosine_matrix(rows, columns))
    assert cosine_matrix(rows.bfloat16(), columns).dtype == torch.float32
    assert cosine_matrix(rows.double(), columns.double()).dtype == torch.float64


def test_a_zero_vector_has_cosine_zero():
    assert cosine_matrix(torch.zeros(1, 3), torch.ones(2, 3)).tolist() == [[0.0, 0.0]]
