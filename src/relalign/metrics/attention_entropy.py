"""How flat attention is: a distance of attention (ISD) of 0 may mean agreement, or that both sides are uniform."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def relative_entropy(
    attention: Float[Tensor, "pair row column"],
    rows: Bool[Tensor, "pair row"],
    columns: Bool[Tensor, "pair column"],
) -> Float[Tensor, " pair"]:
    """Of each pair, the mean over real rows of their entropy, as a share of that of a uniform row.

    1: every row is uniform over its real columns; 0: every row looks at one column alone. A pair with a single
    column has 1, as it has no choice. Rows sum to 1, and padding is 0.

    >>> relative_entropy(torch.tensor([[[0.5, 0.5], [1.0, 0.0]]]), *[torch.ones(1, 2, dtype=torch.bool)] * 2)
    tensor([0.5000])
    """
    entropy = -torch.special.xlogy(attention, attention).sum(2)
    largest = columns.sum(1).float().log()
    mean = entropy.masked_fill(~rows, 0.0).sum(1) / rows.sum(1)
    return torch.where(largest > 0, mean / largest.clamp(min=torch.finfo().tiny), 1.0)
