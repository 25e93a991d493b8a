"""A cross-modal method: a backbone with an objective, and the two terms that nearly all of them share."""

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from relalign.errors import RelalignError
from relalign.features.batches import Batch
from relalign.features.encoders.trained import TrainedEncoder
from relalign.methods.learner import Learner, Terms
from relalign.model.backbone import Backbone, Fused, Side
from relalign.objectives.contrastive import contrastive_loss
from relalign.objectives.matching import listwise_matching_loss, matching_loss, sample_hard_negatives

__all__ = ["Terms", "TrainedMethod", "contrastive_term", "encode_texts", "matching_term"]


class TrainedMethod(Learner):
    """A backbone with an objective; extra learnable parameters of the objective live in the subclass."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    @property
    def trained_encoders(self) -> Mapping[str, TrainedEncoder]:
        """Those of the backbone."""
        return {side: cast(TrainedEncoder, encoder) for side, encoder in self.backbone.encoders.items()}

    def started_parameters(self) -> Iterable[nn.Parameter]:
        """The towers' linear maps, which start at CCA."""
        return self.backbone.started_parameters()

    def language_parameters(self) -> Iterable[nn.Parameter]:
        """A fusion encoder that starts from the text encoder."""
        return self.backbone.language_parameters()

    def pretrained_modules(self) -> Iterable[nn.Module]:
        """The encoders, and the towers, which start at the CCA of their features: like WiSE-FT's head, they belong
        to the encoders that they were fitted to. Fusion starts at random."""
        return self.backbone.encoders, self.backbone.image, self.backbone.text

    def project(self) -> None:
        """Bring parameters that an update took beyond their bounds back to them; called after every update."""
        self.backbone.project()

    def scalars(self) -> dict[str, float]:
        """Learned scalars worth watching, logged every epoch."""
        return {"temperature": self.backbone.temperature.item()}


def encode_texts(backbone: Backbone, batch: Batch) -> list[Side]:
    """The captions of a step (`training.captions_per_step`), of which the first is in all terms of a method."""
    return [backbone.encode_text(text) for text in batch.texts]


def contrastive_term(backbone: Backbone, image: Side, texts: Sequence[Side], batch: Batch) -> Float[Tensor, ""]:
    """Image-text contrastive loss (ITC) of a batch at the learnable temperature: the mean over the given
    captions of each image."""
    losses = [
        contrastive_loss(image.embedding, text.embedding, temperature=backbone.temperature, ids=batch.image_ids)
        for text in texts
    ]
    return torch.stack(losses).mean()


def matching_term(
    backbone: Backbone,
    image: Side,
    text: Side,
    batch: Batch,
    *,
    pairs: int,
    generator: torch.Generator,
    listwise: bool = False,
    attention: bool = False,
) -> tuple[Float[Tensor, ""], Fused]:
    """Matching loss (ITM) of the first `pairs` pairs of a batch, and their fused positives.

    Each pair brings one hard negative image and one hard negative text, drawn from the whole batch with weight
    `softmax(similarity / temperature)`, never of the same image (ALBEF, X-VLM). `listwise` instead brings two of
    each and sums over both directions the cross-entropy of choosing the positive among them (CoVLR). `pairs`
    bounds the cost: fusing is hundreds of times dearer than embedding. `attention` asks for the positives' own.
    """
    rows = torch.arange(min(pairs, len(batch.image_ids)), device=batch.image_ids.device)
    count = 2 if listwise else 1
    ids = batch.image_ids
    with torch.no_grad():
        logits = image.embedding @ text.embedding.T / backbone.temperature
        if not logits.isfinite().all():
            raise RelalignError("The embeddings are not finite any more. Lower training.learning_rate.")
        negative_image, negative_text = (
            sample_hard_negatives(
                side[rows], query_ids=ids[rows], candidate_ids=ids, generator=generator, count=count
            ).flatten()
            for side in (logits.T, logits)
        )
    # Each row's tokens are projected once, however many pairs it is part of.
    known_image = backbone.project_image(image.take(torch.cat([rows, negative_image])))
    known_text = backbone.project_text(text.take(torch.cat([rows, negative_text])))
    positive = backbone.fuse(known_image.take(rows), known_text.take(rows), attention=attention)
    own = rows.repeat_interleave(count)
    drawn = torch.arange(len(own), device=rows.device) + len(rows)
    with_image = backbone.fuse(known_image.take(drawn), known_text.take(own)).matching_logit
    with_text = backbone.fuse(known_image.take(own), known_text.take(drawn)).matching_logit
    if listwise:
        both = (
            listwise_matching_loss(positive.matching_logit, side.view(-1, count))
            for side in (with_image, with_text)
        )
        return torch.stack(list(both)).sum(), positive
    return matching_loss(positive.matching_logit, torch.cat([with_image, with_text])), positive
