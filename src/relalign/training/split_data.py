"""One split's features, read from the feature stores and checked against the pairs table."""

import warnings
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from relalign.data.pairs import read_pairs
from relalign.features.batches import Features, SplitData, features_of
from relalign.features.store import FeatureStore
from relalign.layout import Layout
from relalign.model.backbone import Widths
from relalign.settings import Params


def open_stores(params: Params, layout: Layout) -> tuple[FeatureStore, FeatureStore]:
    """The image and the text feature store; ids out of step with the pairs table are an error."""
    pairs = read_pairs(layout)
    image = FeatureStore.open(layout.features(params.encoders.image), expect_ids=pairs["image_id"].to_numpy())
    text = FeatureStore.open(layout.features(params.encoders.text), expect_ids=pairs["caption_id"].to_numpy())
    return image, text


def widths_of(image: FeatureStore, text: FeatureStore) -> Widths:
    """The widths of the two encoders' outputs."""
    sides = ((store.width, store.pooled_width, store.summary_width) for store in (image, text))
    return Widths(*(width for side in sides for width in side))


def load_split(
    params: Params, layout: Layout, split: str, *, device: torch.device, seed: int | None = None
) -> SplitData:
    """The features of one split and nothing of the others; token features stay memory-mapped on the CPU.

    With `datasets.<name>.rotate_validation`, "train" and "val" are those of the seed.
    """
    image_store, text_store = open_stores(params, layout)
    rotated = seed if params.datasets[params.dataset].rotate_validation else None
    pairs = read_pairs(layout, split, rotated_by=rotated)
    image_ids = np.unique(pairs["image_id"].to_numpy())
    caption_ids = pairs["caption_id"].to_numpy()
    return SplitData.build(
        image_ids,
        caption_ids,
        pairs["image_id"].to_numpy(),
        _features(image_store, image_ids, device),
        _features(text_store, caption_ids, device),
    )


def _features(store: FeatureStore, ids: NDArray[np.int64], device: torch.device) -> Features:
    with warnings.catch_warnings():
        # torch has no read-only tensors and warns; nothing here writes to features.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        tokens, lengths = torch.from_numpy(store.tokens), torch.from_numpy(store.lengths)
    rows = store.rows(ids)
    pooled, summary = (torch.from_numpy(array[rows]) for array in (store.pooled, store.summary))
    on_device = (array.to(device) for array in (lengths.long(), pooled, summary.float(), torch.from_numpy(rows)))
    return features_of(tokens, *on_device)


def model_inputs(params: Params, layout: Layout) -> dict[str, Path]:
    """What a trained model depends on, for its manifest."""
    return {
        "pairs": layout.pairs,
        "image_features": layout.features(params.encoders.image),
        "text_features": layout.features(params.encoders.text),
    }
