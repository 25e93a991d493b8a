"""Contrastive alignment of images and texts, with soft targets where several rows are the same item."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from relalign.objectives.similarity import cosine_matrix

Temperature = float | Float[Tensor, ""]


def contrastive_loss(
    image: Float[Tensor, "batch width"],
    text: Float[Tensor, "batch width"],
    *,
    temperature: Temperature,
    ids: Int[Tensor, " batch"] | None = None,
) -> Float[Tensor, ""]:
    """Half the image-to-text plus half the text-to-image cross-entropy of `cosine / temperature`.

    Row i of `image` matches every row of `text` with the same id, each to an equal share; without `ids`
    only row i. ITC of X-VLM as CoVLR and Rebalanced use it. A batch of one row has loss 0.

    Example: two pairs at a right angle to each other, temperature 1: `log(1 + 1/e) = 0.3133`.
    """
    logits = cosine_matrix(image, text) / temperature
    return symmetric_cross_entropy(logits, identity_targets(logits, ids))


def one_way_contrastive_loss(
    student: Float[Tensor, "batch width"],
    teacher: Float[Tensor, "batch width"],
    *,
    temperature: Temperature,
    ids: Int[Tensor, " batch"] | None = None,
) -> Float[Tensor, ""]:
    """`contrastive_loss` from student rows to teacher columns only: Rebalanced's representation distillation."""
    logits = cosine_matrix(student, teacher) / temperature
    return F.cross_entropy(logits, identity_targets(logits, ids))


def symmetric_cross_entropy(
    logits: Float[Tensor, "batch batch"], targets: Float[Tensor, "batch batch"]
) -> Float[Tensor, ""]:
    """Half the cross-entropy over rows plus half that over columns; row i of `targets` serves row and column i."""
    return (F.cross_entropy(logits, targets) + F.cross_entropy(logits.T, targets)) / 2


def identity_targets(
    logits: Float[Tensor, "batch batch"], ids: Int[Tensor, " batch"] | None = None
) -> Float[Tensor, "batch batch"]:
    """Row-stochastic targets for `logits`: equal ids share a row's mass; without ids the identity matrix.

    Example: ids [7, 7, 9] give [[.5, .5, 0], [.5, .5, 0], [0, 0, 1]].
    """
    if ids is None:
        return torch.eye(len(logits), dtype=logits.dtype, device=logits.device)
    same = (ids[:, None] == ids[None, :]).to(logits.dtype)
    return same / same.sum(dim=1, keepdim=True)
