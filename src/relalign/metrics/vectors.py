"""Unit vectors and the one rule for ties that every ranking metric shares.

A score is the dot product of two unit rows. Rows are stored as float32; two scores are *tied* when their exact
(float64) dot products differ by at most `TIE`. Every metric reports its expectation over a uniformly random
order of tied candidates, so that permuting candidates changes nothing and a constant scorer gets chance.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from relalign.errors import RelalignError

TIE = 1e-12
NAMED_IN_ERRORS = 5

Array = np.ndarray | Tensor


def rounding_band(width: int) -> float:
    """How far a float32 dot product of unit rows of `width` numbers may lie from the exact one.

    Rounding errors of `width` products add up like a random walk of steps 2^-24; the band allows eight times
    its expected length. Scores further apart than this are ordered by float32 alone; closer ones are recomputed.
    """
    return float(8 * np.sqrt(width) * 2.0**-24)


def unit_rows(
    rows: Shaped[Array, "n d"], name: str, ids: Sequence[int] | Int[Array, " n"] | None = None
) -> Float[Tensor, "n d"]:
    """Rows scaled to length 1 in float64, then stored as float32 on the device they came on.

    `name` and `ids` (default: row numbers) are for the error. Raises `RelalignError` if the array is not a
    floating-point matrix, or naming the rows that are not finite or have length zero.
    """
    tensor = torch.as_tensor(rows).detach()
    if tensor.ndim != 2 or not tensor.is_floating_point():
        raise RelalignError(
            f"{name}: expected a matrix of floating-point rows, got {tensor.dtype} of shape {tuple(tensor.shape)}."
        )
    exact = tensor.double()
    norms = exact.norm(dim=1, keepdim=True)
    bad = ~(torch.isfinite(norms) & (norms > 0)).squeeze(1)
    if bad.any():
        index = torch.nonzero(bad).squeeze(1).tolist()
        named = [int(ids[row]) if ids is not None else row for row in index[:NAMED_IN_ERRORS]]
        more = ", ..." if len(index) > NAMED_IN_ERRORS else ""
        raise RelalignError(
            f"{name}: {len(index)} of {len(bad)} rows are not finite or have length zero; "
            f"{'ids' if ids is not None else 'rows'} {', '.join(map(str, named))}{more}. "
            "Mend or leave out these embeddings."
        )
    unit: Tensor = exact / norms
    return unit.float()
