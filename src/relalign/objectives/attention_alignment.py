"""Intra-modal attention calibrated through inter-modal attention (IAIS, ACL 2021; CACR, ACL 2023).

`ll` (n x n) is word-word attention, `vv` (m x m) region-region, `lv` (n x m) and `vl` (m x n) the two across;
every row of a real token sums to 1. All take one pair, or a padded batch of pairs (a leading dimension) with masks
of the real tokens; entries of padding are 0. Results are means over pairs, or with `per_pair` one value a pair.
The anchor is the modality whose own attention is compared with what the other's says through the links between
them.
"""

from collections.abc import Callable
from functools import reduce
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from relalign.objectives.similarity import at_least_float32

Anchor = Literal["text", "image"]
Words = Float[Tensor, "*pair text text"]
Regions = Float[Tensor, "*pair image image"]
Across = Float[Tensor, "*pair row column"]
TextMask = Bool[Tensor, "*pair text"]
ImageMask = Bool[Tensor, "*pair image"]

_SMALLEST = 1e-6


def singular(
    ll: Words,
    vv: Regions,
    cross: Across,
    *,
    anchor: Anchor,
    text_mask: TextMask | None = None,
    image_mask: ImageMask | None = None,
    renormalise: bool = False,
    per_pair: bool = False,
) -> Float[Tensor, "..."]:
    """Symmetric KL of the anchor's attention and the other's, read at each token's most attended partner.

    For the text anchor `cross` is `lv`, k(i) = argmax_j lv[i, j] (the first of equals), and row i of the
    counterpart is `softmax_j vv[k(i), k(j)]`; for the image anchor `cross` is `vl` and the roles are swapped.
    The extra softmax over entries of at most 1 is the released code's and flattens, so that the loss of a
    perfect one-to-one alignment is not 0; `renormalise` divides by the row's sum instead, and there it is.
    """
    own, other, rows = _roles(ll, vv, anchor, text_mask, image_mask)
    chosen = _of_partners(other, cross)
    counterpart = _renormalised(chosen, rows) if renormalise else _softmax(chosen, rows)
    distance = _symmetric_kl(own, counterpart, rows, lambda p: p.clamp(min=_SMALLEST).log())
    return _reduce(distance, ll.ndim, per_pair)


def entropy(
    ll: Words,
    vv: Regions,
    cross: Across,
    *,
    anchor: Anchor,
    text_mask: TextMask | None = None,
    image_mask: ImageMask | None = None,
    per_pair: bool = False,
) -> Float[Tensor, "..."]:
    """Squared difference of the entropies, in nats, of each row of the anchor's and of its counterpart.

    Our control for `singular`, not the paper's: the same rows are compared (its softmax included), by how
    flat they are alone; where they look takes no part. A mean over real rows; 0 for a pair without any. Logarithms
    stop at 1e-6, so that the gradient is finite where attention is 0.
    """
    own, other, rows = _roles(ll, vv, anchor, text_mask, image_mask)
    counterpart = _softmax(_of_partners(other, cross), rows)
    real = rows[:, :, None] & rows[:, None, :]
    of_own, of_counterpart = (
        -(block * block.clamp(min=_SMALLEST).log() * real).sum(dim=2) for block in (own, counterpart)
    )
    distance = (of_own - of_counterpart).square().sum(dim=1) / rows.sum(dim=1).clamp(min=1)
    return _reduce(distance, ll.ndim, per_pair)


def distributed(
    ll: Words,
    vv: Regions,
    lv: Float[Tensor, "*pair text image"],
    vl: Float[Tensor, "*pair image text"],
    *,
    anchor: Anchor,
    text_mask: TextMask | None = None,
    image_mask: ImageMask | None = None,
    per_pair: bool = False,
) -> Float[Tensor, "..."]:
    """Symmetric KL of the anchor's attention and the round trip through the other modality.

    The round trip is `lv @ vl` for the text anchor and `vl @ lv` for the image anchor; 1e-6 is added inside each
    logarithm as released. `vv` (text anchor) or `ll` (image anchor) takes no part.
    """
    own, _, rows = _roles(ll, vv, anchor, text_mask, image_mask)
    there, back = (lv, vl) if anchor == "text" else (vl, lv)
    trip = _product(there, back)
    trip = trip if trip.ndim == 3 else trip[None]
    return _reduce(_symmetric_kl(own, trip, rows, lambda p: (p + _SMALLEST).log()), ll.ndim, per_pair)


def soft(
    ll: Words,
    vv: Regions,
    cross: Across,
    *,
    anchor: Anchor,
    text_mask: TextMask | None = None,
    image_mask: ImageMask | None = None,
    per_pair: bool = False,
) -> Float[Tensor, "..."]:
    """Symmetric KL of row softmaxes of the anchor's attention and of `C other C^T`, C = `cross` without gradient.

    CACR's variant (`KhoomeiK/CACR`): every link counts by its weight, where `singular` takes the strongest.
    """
    own, other, rows = _roles(ll, vv, anchor, text_mask, image_mask)
    links = cross.detach() if cross.ndim == 3 else cross.detach()[None]
    other = other if other.ndim == 3 else other[None]
    counterpart = _softmax(_product(links, other, links.transpose(1, 2)), rows)
    distance = _symmetric_kl(_softmax(own, rows), counterpart, rows, lambda p: p.clamp(min=_SMALLEST).log())
    return _reduce(distance, ll.ndim, per_pair)


def _roles(
    ll: Tensor, vv: Tensor, anchor: Anchor, text_mask: Tensor | None, image_mask: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """The anchor's block, the other modality's block and the anchor's real rows, all with a pair dimension."""
    own, other, mask = (ll, vv, text_mask) if anchor == "text" else (vv, ll, image_mask)
    rows = torch.ones(own.shape[:-1], dtype=torch.bool, device=own.device) if mask is None else mask
    if own.ndim == 3:
        return own, other, rows
    return own[None], other, rows[None]


def _of_partners(other: Tensor, cross: Tensor) -> Tensor:
    """`other` read at each token's most attended partner: entry i, j is that of the partners of i and of j."""
    cross, other = (block if block.ndim == 3 else block[None] for block in (cross, other))
    partner = cross.argmax(dim=2)
    chosen = other.gather(1, partner[:, :, None].expand(-1, -1, other.shape[2]))
    return chosen.gather(2, partner[:, None, :].expand(-1, partner.shape[1], -1))


def _product(*blocks: Tensor) -> Tensor:
    """Their matrix product, not rounded to bfloat16: rows near uniform differ by less than its steps."""
    with torch.autocast(blocks[0].device.type, enabled=False):
        return reduce(torch.matmul, map(at_least_float32, blocks))


def _softmax(block: Tensor, rows: Tensor) -> Tensor:
    # A finite filler keeps a pair without a real token free of NaN; its rows take no part.
    return block.masked_fill(~rows[:, None, :], -1e4).softmax(dim=2)


def _renormalised(block: Tensor, rows: Tensor) -> Tensor:
    real = block * rows[:, None, :]
    return real / real.sum(dim=2, keepdim=True).clamp(min=_SMALLEST)


def _symmetric_kl(
    first: Tensor, second: Tensor, rows: Tensor, log: Callable[[Tensor], Tensor]
) -> Float[Tensor, " pair"]:
    """Mean over real rows of KL(first || second) + KL(second || first); 0 for a pair without any."""
    # The two divergences share their factors: (p - q) (log p - log q).
    entries = (first - second) * (log(first) - log(second))
    entries = entries * (rows[:, :, None] & rows[:, None, :])
    total: Tensor = entries.sum(dim=(1, 2)) / rows.sum(dim=1).clamp(min=1)
    return total


def _reduce(distance: Float[Tensor, " pair"], dimensions: int, per_pair: bool) -> Tensor:
    if not per_pair:
        return distance.mean()
    return distance if dimensions == 3 else distance[0]
