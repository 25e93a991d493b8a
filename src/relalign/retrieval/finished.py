"""A split's features as a trained model's encoders finish them: once, before it is embedded and fused."""

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from jaxtyping import Int
from torch import Tensor
from tqdm import tqdm

from relalign.features.batches import SplitData
from relalign.features.encoders.base import saturated_half
from relalign.features.table import Features, features_of
from relalign.methods.model_files import Embedder
from relalign.model.backbone import Backbone

ROWS_AT_ONCE = 128
Kept = tuple[Tensor, Tensor, Tensor, Tensor]


@torch.inference_mode()
def finished(embedder: Embedder, data: SplitData) -> SplitData:
    """The split with features that nothing is left to train of; the split itself where that is so already.

    Tokens are kept in float16, as a store keeps them.
    """
    if not isinstance(embedder, Backbone):
        return data
    image, text = (_finished(embedder, side, getattr(data, side)) for side in ("image", "text"))
    return replace(data, image=image, text=text)


def _finished(backbone: Backbone, side: str, features: Features) -> Features:
    if not features.table.below_cut:
        return features
    # Captions of one length together: nothing goes into padding.
    order = features.table.lengths[features.rows].argsort(stable=True)
    bar = tqdm(order.split(ROWS_AT_ONCE), desc=f"Encoding {side}s", unit="batch", leave=False, disable=None)
    return joined([kept(backbone.finished(side, features.take(chosen))) for chosen in bar], order)


def kept(features: Features) -> Kept:
    """Of a batch's finished features, what is kept: tokens in float16 on the CPU, lengths, pooled, summary."""
    tokens, mask = features.tokens()
    return saturated_half(tokens).cpu(), mask.sum(1), features.pooled, features.summary


def joined(batches: Sequence[Kept], order: Int[Tensor, " row"]) -> Features:
    """The features of all batches (one at least) in memory: row `order[i]` is row i of the batches laid end to
    end."""
    longest = max(tokens.shape[1] for tokens, *_ in batches)
    padded = [(F.pad(tokens, (0, 0, 0, longest - tokens.shape[1])), *rest) for tokens, *rest in batches]
    back = order.argsort()
    whole = (torch.cat(arrays) for arrays in zip(*padded, strict=True))
    tokens, lengths, pooled, summary = (array[back.to(array.device)] for array in whole)
    return features_of(tokens, lengths, pooled, summary)
