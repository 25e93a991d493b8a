"""How much the fusion encoder's own say counts in re-ranking: chosen on the validation split, before it re-ranks.

A matching head learns from hard negatives, among which similarity tells little by construction, so that its raw
logit trusts similarity too little among ordinary candidates. BLIP (arXiv 2201.12086) adds the similarity to the
logit when it re-ranks; here the share of the two is chosen instead of set.
"""

from collections.abc import Iterable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from relalign.features.batches import SplitData
from relalign.model.backbone import Backbone, Fused
from relalign.retrieval.embeddings import embed
from relalign.retrieval.two_stage import fused_pairs
from relalign.settings.section import Precision

SHARES = (0.0, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0)
IMAGES, RECALL_AT = 200, (1, 5, 10)


@torch.inference_mode()
def choose_fusion_share(
    backbone: Backbone, validation: SplitData, *, candidates: int, precision: Precision = "float32"
) -> None:
    """Set `backbone.fusion_share` to the share with the best Rsum of re-ranking; of equal ones the smallest.

    Asked are the first images of the split and their captions, re-ranked are the first `candidates` of each, as
    many as are re-ranked later.
    """
    image, text = (torch.from_numpy(side) for side in embed(backbone, validation))
    owner = validation.image_of_caption.cpu()
    asking_images = torch.arange(min(IMAGES, len(image)))
    asking_texts = torch.arange(int(validation.first_caption[len(asking_images)]))
    asked = []
    for asking, rows, columns, swapped in ((asking_images, image, text, False), (asking_texts, text, image, True)):
        best = (rows[asking] @ columns.T).topk(min(candidates, len(columns)), dim=1).indices
        query = asking[:, None].expand_as(best)
        right = query == owner[best] if not swapped else best == owner[query]
        asked.append((right, _stacked(*((best, query) if swapped else (query, best)))))
    # A pair that both directions ask for is fused once.
    unique, place = torch.cat([pairs for _, pairs in asked]).unique(dim=0, return_inverse=True)
    fused = fused_pairs(backbone, validation, image, text, unique, precision=precision)
    similarity, own = (
        part[place].split([len(pairs) for _, pairs in asked]) for part in _parts(backbone, fused, len(unique))
    )
    directions = [
        (right, *(part.view_as(right) for part in parts))
        for (right, _), *parts in zip(asked, similarity, own, strict=True)
    ]
    rsums = [
        sum(_recall(right, similarity + share * own) for right, similarity, own in directions) for share in SHARES
    ]
    backbone.fusion_share.fill_(SHARES[rsums.index(max(rsums))])


def _stacked(images: Tensor, texts: Tensor) -> Tensor:
    return torch.stack([images.flatten(), texts.flatten()], dim=1)


def _parts(backbone: Backbone, batches: Iterable[tuple[Tensor, Fused]], pairs: int) -> tuple[Tensor, Tensor]:
    """The similarity part of each pair's matching logit, and fusion's own part at share 1."""
    similarity, own = torch.empty(2, pairs)
    for places, fused in batches:
        said = backbone.matching(fused.pooled.float()).squeeze(-1)
        own[places] = said.cpu()
        similarity[places] = (fused.matching_logit.float() - backbone.fusion_share * said).cpu()
    return similarity, own


def _recall(right: Bool[Tensor, "query candidate"], scores: Float[Tensor, "query candidate"]) -> float:
    """The sum of recalls; a right answer below the candidates counts for none of them."""
    ranked = right.gather(1, scores.argsort(dim=1, descending=True, stable=True))
    return sum(ranked[:, :k].any(1).double().mean().item() for k in RECALL_AT)
