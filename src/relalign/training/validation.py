"""What is measured of a cross-modal model on the validation split while it trains."""

import torch

from relalign.features.batches import SplitData
from relalign.methods.model_files import Embedder
from relalign.metrics.isd import attention_distance
from relalign.metrics.recall import recall
from relalign.model.backbone import Backbone
from relalign.retrieval.embeddings import embed
from relalign.retrieval.finished import finished
from relalign.training.history import Row
from relalign.training.relations import Relations

ATTENTION_PAIRS = 256


def validation_metrics(embedder: Embedder, validation: SplitData, relations: Relations) -> Row:
    """Recall of the first stage on the validation split, relations within each modality, in the shared space and
    in the encoders' own (`encoder/`), and the attention distance of some pairs.

    `val/rsum` is what selection and stopping use.
    """
    validation = finished(embedder, validation)
    image, text = embed(embedder, validation)
    row: Row = {
        **recall(image, text, validation.image_of_caption.numpy(force=True)).metrics(),
        **relations.measure(torch.from_numpy(image), torch.from_numpy(text)),
        **relations.measure(validation.image.pooled, validation.text.pooled, prefix="encoder/"),
        **_attention(embedder, validation),
    }
    return {f"val/{name}": value for name, value in row.items()}


@torch.inference_mode()
def _attention(embedder: Embedder, validation: SplitData) -> Row:
    if not isinstance(embedder, Backbone):
        return {}
    images = torch.arange(min(ATTENTION_PAIRS, len(validation.image_ids)), device=validation.image_ids.device)
    captions = validation.first_caption[images]
    sides = (
        embedder.encode_image(validation.image.take(images)),
        embedder.encode_text(validation.text.take(captions)),
    )
    blocks = embedder.fuse(*sides, attention=True).attention
    assert blocks is not None  # noqa: S101 (asked for)
    singular, distributed = attention_distance(**vars(blocks))
    return {"isd/singular": singular.mean().item(), "isd/distributed": distributed.mean().item()}
