"""What a run's fusion encoder adds: two-stage retrieval and the attention distance of matching pairs."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from tqdm import tqdm

from relalign.evaluation.cross_modal import recall_measurements
from relalign.evaluation.phrase_regions import PhraseMasks
from relalign.features.batches import SplitData
from relalign.metrics.attention_entropy import relative_entropy
from relalign.metrics.isd import annotated_attention_distance, attention_distance
from relalign.metrics.measurement import Measurement
from relalign.metrics.ranks import cross_modal_ranks
from relalign.metrics.recall import report_of
from relalign.metrics.reranking import rerank
from relalign.metrics.vectors import unit_rows
from relalign.model.backbone import Backbone, Side
from relalign.model.fusion import AttentionBlocks
from relalign.model.precision import in_precision
from relalign.retrieval.embeddings import Embeddings
from relalign.retrieval.two_stage import Reranked, caption_positions
from relalign.settings.section import Precision

PAIRS_AT_ONCE = 64  # whose keys and values stay in a core's cache
ATTENTION = ("singular", "distributed", "entropy_words", "entropy_regions")


def measure_reranked(
    embeddings: Embeddings, i2t: Reranked, t2i: Reranked, *, ks: Sequence[int]
) -> list[Measurement]:
    """`rerank/i2t/recall@k` and so on: the metrics of `measure_recall` after the second stage."""
    owner = embeddings.text_to_image
    first = cross_modal_ranks(
        unit_rows(embeddings.image, "image embeddings", embeddings.image_ids),
        unit_rows(embeddings.text, "text embeddings", embeddings.text_ids),
        torch.from_numpy(owner),
    )
    own_texts = torch.from_numpy(owner[i2t.candidates] == np.arange(len(i2t.candidates))[:, None])
    own_image = torch.from_numpy(t2i.candidates == owner[:, None])
    second = rerank(first[0], i2t.logits, own_texts), rerank(first[1], t2i.logits, own_image)
    return recall_measurements(report_of(*second, ks=ks), embeddings, prefix="rerank/")


@torch.inference_mode()
def measure_attention(
    backbone: Backbone,
    data: SplitData,
    embeddings: Embeddings,
    phrases: Mapping[int, PhraseMasks],
    *,
    precision: Precision = "float32",
) -> list[Measurement]:
    """`isd/singular` and `isd/distributed` of every matching pair of the split (a value a caption), and beside
    them `isd/entropy_words` and `isd/entropy_regions`, how flat the two compared attentions are.

    `phrases`, by caption id, adds `isd/annotated` of their captions, if there are any.
    """
    owner = torch.from_numpy(embeddings.text_to_image)
    captions = caption_positions(data, embeddings)
    images, texts = (
        torch.from_numpy(side).to(data.image_ids.device) for side in (embeddings.image, embeddings.text)
    )
    parts = []
    annotated: dict[int, float] = {}  # by row of the captions
    for chosen in tqdm(
        torch.arange(len(owner)).split(PAIRS_AT_ONCE), desc="Attention", unit="batch", disable=None
    ):
        rows, place_of = owner[chosen].unique(return_inverse=True)
        text = Side(texts[chosen], data.text.take(captions[chosen]))
        with in_precision(data.image_ids.device, precision):
            # Captions share images, whose tokens are projected once.
            image = backbone.project_image(Side(images[rows], data.image.take(rows))).take(place_of)
            blocks = backbone.fuse(image, text, attention=True).attention
        assert blocks is not None  # noqa: S101 (asked for)
        flat = (
            relative_entropy(blocks.text_text, blocks.text_mask, blocks.text_mask),
            relative_entropy(blocks.image_image, blocks.image_mask, blocks.image_mask),
        )
        parts.append(torch.stack([*attention_distance(**vars(blocks)), *flat]))
        for place, row in enumerate(chosen.tolist()):
            if (masks := phrases.get(int(embeddings.text_ids[row]))) is not None:
                annotated[row] = _annotated(blocks, place, masks)
    values_of = dict(zip(ATTENTION, torch.cat(parts, dim=1).double().numpy(), strict=True))
    ids = embeddings.text_ids, embeddings.text_image_ids
    found = [Measurement(f"isd/{name}", *ids, values) for name, values in values_of.items()]
    if annotated:
        rows = list(annotated)
        values = np.array(list(annotated.values()))
        found.append(Measurement("isd/annotated", ids[0][rows], ids[1][rows], values))
    return found


def _annotated(blocks: AttentionBlocks, pair: int, masks: PhraseMasks) -> float:
    words = masks.words.shape[1]  # what follows pads the batch
    text = blocks.text_text[pair, :words, :words].cpu()
    return annotated_attention_distance(text, blocks.image_image[pair].cpu(), masks.words, masks.regions)
