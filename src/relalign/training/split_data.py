"""One split's features, read from the feature stores and checked against the pairs table."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray

from relalign.data.pairs import read_pairs
from relalign.errors import RelalignError
from relalign.features.batches import SplitData
from relalign.features.encoders.trained import TrainedEncoder, load_trained
from relalign.features.store import FeatureStore
from relalign.features.table import Features, Table
from relalign.layout import Layout
from relalign.model.backbone import Widths
from relalign.model.fusion import FusionShape
from relalign.model.fusion_start import State, language_layers
from relalign.settings import Params
from relalign.system.artifacts import read_manifest


def open_stores(params: Params, layout: Layout) -> tuple[FeatureStore, FeatureStore]:
    """The image and the text feature store; ids out of step with the pairs table are an error."""
    return open_store(params, layout, "image"), open_store(params, layout, "text")


def open_store(params: Params, layout: Layout, side: str) -> FeatureStore:
    """The feature store of one modality; ids out of step with the pairs table are an error."""
    name, column = dict(params.encoders)[side], {"image": "image_id", "text": "caption_id"}[side]
    store = FeatureStore.open(layout.features(name), expect_ids=read_pairs(layout)[column].to_numpy())
    if store.train_from != params.encoder[name].train_from:
        raise RelalignError(
            f"{store.folder} was cached for train_from '{store.train_from}', but encoder.{name}.train_from is "
            f"'{params.encoder[name].train_from}'. Run the features stage again."
        )
    return store


def widths_of(
    image: FeatureStore, text: FeatureStore, trained: Mapping[str, TrainedEncoder] = MappingProxyType({})
) -> Widths:
    """The widths of the two encoders' outputs; tokens of a store below a cut are those of its trained part."""
    stores = {"image": image, "text": text}
    tokens = {
        side: trained[side].part.token_width if side in trained else store.width for side, store in stores.items()
    }
    sides = ((tokens[side], store.pooled_width, store.summary_width) for side, store in stores.items())
    return Widths(*(width for side in sides for width in side))


def trained_encoders(params: Params, layout: Layout) -> dict[str, TrainedEncoder]:
    """The trained part, at its start, of each encoder that has one."""
    return {
        side: load_trained(params.encoder[name], layout.encoder(name), rows_at_once=params.training.encode_rows)
        for side, name in params.encoders
        if params.encoder[name].train_from is not None
    }


def fusion_start(params: Params, layout: Layout) -> tuple[FusionShape | None, list[State]]:
    """With `backbone.fusion_start: text_encoder` the shape and the weights at which fusion starts."""
    if params.backbone.fusion_start == "random":
        return None, []
    return language_layers(layout.encoder(params.encoders.text), params.backbone.fusion_layers)


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
        features_from(image_store, image_ids, device),
        features_from(text_store, caption_ids, device),
    )


def features_from(store: FeatureStore, ids: NDArray[np.int64], device: torch.device) -> Features:
    """The rows of the given ids, memory-mapped; batches of them go to `device`."""
    with warnings.catch_warnings():
        # torch has no read-only tensors and warns; nothing here writes to features.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        tokens, lengths, pooled, summary = map(
            torch.from_numpy, (store.tokens, store.lengths, store.pooled, store.summary)
        )
        content = None if store.content is None else torch.from_numpy(store.content)
    table = Table(
        tokens,
        lengths.long().to(device),
        pooled,
        summary,
        content,
        below_cut=store.train_from is not None,
        views=store.views,
        mapped=tuple(array for array in vars(store).values() if isinstance(array, np.memmap)),
    )
    return Features(table, torch.from_numpy(store.rows(ids)).to(device))


def model_inputs(params: Params, layout: Layout) -> dict[str, Path]:
    """What a trained model depends on, for its manifest; read in whole to see that it is as it was made."""
    trained = {
        f"{side}_encoder": layout.encoder(name)
        for side, name in params.encoders
        if params.encoder[name].train_from is not None
        or (side == "text" and params.backbone.fusion_start == "text_encoder")
    }
    read_manifest(layout.pairs, verify=True, made_from={"raw": layout.raw})
    for folder in trained.values():
        read_manifest(folder, verify=True)
    features = {f"{side}_features": layout.features(name) for side, name in params.encoders}
    for (_, name), folder in zip(params.encoders, features.values(), strict=True):
        read_manifest(folder, verify=True, made_from={"pairs": layout.pairs, "encoder": layout.encoder(name)})
    return trained | {"pairs": layout.pairs, **features}
