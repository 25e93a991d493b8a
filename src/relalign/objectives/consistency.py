"""Consistency of two views of the same item, and a band that similarities should stay out of (CoVLR)."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from relalign.objectives.similarity import at_least_float32, cosine_matrix


def nt_xent_loss(
    first: Float[Tensor, "batch width"], second: Float[Tensor, "batch width"], *, temperature: float = 0.1
) -> Float[Tensor, ""]:
    """NT-Xent (SimCLR) over the 2B vectors: each must find its other view among the 2B - 1 others.

    CoVLR applies it to the fused vectors of an image with two of its captions. Two pairs of identical,
    mutually orthogonal views at temperature 1 give `log(1 + 2/e) = 0.5514`.
    """
    size = len(first)
    vectors = torch.cat([first, second])
    logits = cosine_matrix(vectors, vectors) / temperature
    itself = torch.eye(2 * size, dtype=torch.bool, device=logits.device)
    partner = torch.arange(2 * size, device=logits.device).roll(size)
    return F.cross_entropy(logits.masked_fill(itself, -torch.inf), partner)


def band_regulariser(
    vectors: Float[Tensor, "batch width"], *, low: float = 0.1, high: float = 0.5
) -> Float[Tensor, ""]:
    """Sum over ordered pairs, an item with itself included, of `|min((s - low)(s - high), 0)|`.

    `s` is the raw inner product, in float32 at least: bfloat16's steps are as wide as the band. It is positive
    inside (low, high) only and so pushes items to be either alike or unlike; CoVLR weighs it 0.001 within its
    consistency loss. Vectors that a LayerNorm made, as there, have products of the order of their width: few pairs
    are in the band at a time, and its gradient comes in jumps.
    """
    with torch.autocast(vectors.device.type, enabled=False):
        vectors = at_least_float32(vectors)
        similarity = vectors @ vectors.T
    return ((similarity - low) * (similarity - high)).clamp(max=0).abs().sum()
