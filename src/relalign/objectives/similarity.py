"""Relations within a batch: the matrices that relation and structure objectives compare."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from relalign.errors import RelalignError


def cosine_matrix(
    rows: Float[Tensor, "row width"], columns: Float[Tensor, "column width"]
) -> Float[Tensor, "row column"]:
    """Cosine of every row with every column; a zero vector has cosine 0 with all.

    In float32 at least, under autocast too: bfloat16's steps near 1 are wider than what relations differ by.
    """
    with torch.autocast(rows.device.type, enabled=False):
        rows, columns = (F.normalize(at_least_float32(side), dim=-1) for side in (rows, columns))
        return rows @ columns.T


def at_least_float32(array: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The array in float32, or as it is if that is wider."""
    return array.to(torch.promote_types(array.dtype, torch.float32))


def off_diagonal(matrix: Float[Tensor, "row row"]) -> Float[Tensor, "row others"]:
    """A square matrix without its diagonal, whose relation of an item to itself says nothing.

    Example: [[1, 2], [3, 4]] gives [[2], [3]]. Raises `RelalignError` for fewer than two rows.
    """
    size = len(matrix)
    if size < 2:
        raise RelalignError("A batch of one item has no relations. Raise training.batch_size.")
    # Flattened without its last element, the diagonal is every (size + 1)-th element, the first of a row.
    return matrix.flatten()[:-1].view(size - 1, size + 1)[:, 1:].reshape(size, size - 1)


def euclidean_matrix(vectors: Float[Tensor, "row width"]) -> Float[Tensor, "row row"]:
    """Euclidean distances between unit-normalised rows, `sqrt(2 - 2 cos)`, in [0, 2].

    The gradient of equal rows is 0 where the square root's own is infinite.
    """
    squared = 2 - 2 * cosine_matrix(vectors, vectors)
    apart = squared > torch.finfo(squared.dtype).eps
    return torch.where(apart, squared, 1.0).sqrt() * apart
