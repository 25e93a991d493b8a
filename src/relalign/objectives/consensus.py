"""Consensus of several frozen teachers on how items relate: ours, for `relalign/methods/consensus.py`.

Teachers' cosines differ in offset and spread (features after a ReLU all point one way), so that neither their mean
nor a distance to a student's means much. Here relations are calibrated first, then mixed by how far each teacher
can be trusted, which is read off how the teachers agree.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from relalign.objectives.relation import standardised_rows
from relalign.objectives.similarity import cosine_matrix, off_diagonal

# A loading of 0 or 1 would silence a teacher, or all others, for good.
_LEAST, _MOST = 0.05, 0.95


def calibrated_relations(vectors: Float[Tensor, "item width"]) -> Float[Tensor, "item others"]:
    """Cosines of each item with all others around the batch's mean, each row standardised."""
    centred = vectors - vectors.mean(dim=0, keepdim=True)
    return standardised_rows(off_diagonal(cosine_matrix(centred, centred)))


def trust(
    first: Float[Tensor, "item others"], second: Float[Tensor, "item others"], third: Float[Tensor, "item others"]
) -> Float[Tensor, "3"]:
    """Weights, summing to 1, of three teachers' calibrated relations in the best estimate of what they share.

    One common factor explains three correlations exactly: teacher a's squared loading is
    `r_ab r_ac / r_bc` (Spearman), its weight in the factor's estimate is `loading / (1 - loading^2)` (Bartlett).
    A correlation within twice its sampling error (that of as many independent pairs of items) counts as so much,
    as the ratio of two of them would be noise: two teachers that agree with each other only weigh alike, and the
    third gets the least. Squared loadings are kept within [0.05, 0.95]; three teachers that agree alike weigh a
    third each.
    """
    floor = 2 / (first.numel() / 2) ** 0.5
    ab, ac, bc = ((a * b).mean().clamp(min=floor) for a, b in ((first, second), (first, third), (second, third)))
    squared = torch.stack([ab * ac / bc, ab * bc / ac, ac * bc / ab]).clamp(_LEAST, _MOST)
    weights = squared.sqrt() / (1 - squared)
    return weights / weights.sum()


def calibrated_relation_kl(
    student: Float[Tensor, "item others"], target: Float[Tensor, "item others"], *, sharpness: float
) -> Float[Tensor, ""]:
    """Mean over items of KL(target || student) between softmaxes of `sharpness` times standardised relations.

    Both sides standardised, the student is held to order and shape only and keeps the scale that its contrastive
    loss wants. No gradient reaches `target`.
    """
    wanted = (sharpness * target.detach()).log_softmax(dim=1)
    given = (sharpness * standardised_rows(student)).log_softmax(dim=1)
    return F.kl_div(given, wanted, reduction="batchmean", log_target=True)


def softened_targets(
    relations: Float[Tensor, "item others"], *, share: float, sharpness: float
) -> Float[Tensor, "item item"]:
    """Contrastive targets that leave `share` of each row to the items related to it; the rest is the item's own.

    Items that a teacher finds alike are no longer pushed apart as if they were unrelated (false negatives).
    """
    size = len(relations)
    spread = share * (sharpness * relations.detach()).softmax(dim=1)
    targets = (1 - share) * torch.eye(size, dtype=relations.dtype, device=relations.device)
    others = ~torch.eye(size, dtype=torch.bool, device=relations.device)
    return targets.masked_scatter(others, spread)
