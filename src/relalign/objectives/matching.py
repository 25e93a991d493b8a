"""Matching: does this text describe this image? Hard negatives are drawn from the batch's own similarities."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from relalign.errors import RelalignError

# Keeps every admissible candidate drawable when the softmax has all but vanished on it (X-VLM, ALBEF).
_FLOOR = 1e-5


def sample_hard_negatives(
    logits: Float[Tensor, "query candidate"],
    *,
    query_ids: Int[Tensor, " query"],
    candidate_ids: Int[Tensor, " candidate"],
    generator: torch.Generator,
    count: int = 1,
) -> Int[Tensor, "query {count}"]:
    """Draw `count` different candidates a query with weight `softmax(logits) + 1e-5`, none with the query's id.

    `logits` are similarities over the temperature; no gradient flows. Drawing happens on the generator's
    device. If a query has fewer than `count` candidates with another id, as in a short last batch, all draw with
    replacement. Raises `RelalignError` if a query has none.
    """
    other = query_ids[:, None] != candidate_ids[None, :]
    fewest = int(other.sum(dim=1).min())
    if fewest == 0:
        raise RelalignError(
            "A batch has a row without a row of another image to serve as its negative. "
            "Raise training.batch_size or use more images."
        )
    weights = torch.where(other, logits.detach().softmax(dim=1) + _FLOOR, 0.0)
    drawn = torch.multinomial(weights.to(generator.device), count, replacement=fewest < count, generator=generator)
    return drawn.to(logits.device)


def matching_loss(
    positive: Float[Tensor, " positives"], negative: Float[Tensor, " negatives"]
) -> Float[Tensor, ""]:
    """Mean binary cross-entropy of matching logits over all pairs given, positives labelled 1, negatives 0.

    Equals the mean cross-entropy of a two-output head whose logits are (0, logit). With one negative a
    direction this is Rebalanced's and ALBEF's matching loss over 3B pairs.
    """
    logits = torch.cat([positive, negative])
    labels = torch.cat([torch.ones_like(positive), torch.zeros_like(negative)])
    return F.binary_cross_entropy_with_logits(logits, labels)


def listwise_matching_loss(
    positive: Float[Tensor, " batch"], negative: Float[Tensor, "batch count"]
) -> Float[Tensor, ""]:
    """Mean cross-entropy of choosing the positive among itself and its drawn negatives.

    CoVLR's matching as ranking; the released code leaves zeros in place of pairs it did not score, which act
    as rivals with logit 0, whereas here those pairs take no part.
    """
    logits = torch.cat([positive[:, None], negative], dim=1)
    return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=logits.device))
