"""Embeddings of a split with their ids: computing, exporting beside a FAISS index, and loading them checked."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, Int64
from numpy.typing import NDArray

from relalign.errors import RelalignError
from relalign.features.batches import SplitData
from relalign.methods.model_files import Embedder
from relalign.system.artifacts import read_manifest

ROWS_AT_ONCE = 1024


@dataclass(frozen=True)
class Embeddings:
    """Unit-norm embeddings of a split; caption row j belongs to image id `text_image_ids[j]`."""

    image: Float32[NDArray[np.float32], "image width"]
    text: Float32[NDArray[np.float32], "caption width"]
    image_ids: Int64[NDArray[np.int64], " image"]
    text_ids: Int64[NDArray[np.int64], " caption"]
    text_image_ids: Int64[NDArray[np.int64], " caption"]

    @property
    def text_to_image(self) -> Int64[NDArray[np.int64], " caption"]:
        """The row of each caption's image in `image`."""
        return np.searchsorted(self.image_ids, self.text_image_ids)


@torch.inference_mode()
def embed(
    embedder: Embedder, data: SplitData, *, rows_at_once: int = ROWS_AT_ONCE
) -> tuple[Float32[NDArray[np.float32], "image width"], Float32[NDArray[np.float32], "caption width"]]:
    """Embed every image and caption of a split, in the split's order."""
    sides = []
    for encode, features in ((embedder.encode_image, data.image), (embedder.encode_text, data.text)):
        rows = torch.arange(len(features), device=features.rows.device)
        parts = [encode(features.take(part)).embedding.float() for part in torch.split(rows, rows_at_once)]
        sides.append(torch.cat(parts).numpy(force=True))
    return sides[0], sides[1]


def write_embeddings(draft: Path, embeddings: Embeddings) -> None:
    """Write the arrays of the contract into a folder that is being published."""
    for name, array in vars(embeddings).items():
        np.save(draft / f"{name}.npy", array, allow_pickle=False)


def load_embeddings(folder: Path) -> Embeddings:
    """Load a published embeddings folder; arrays whose rows are out of step are an error."""
    read_manifest(folder, verify=True)
    names = Embeddings.__dataclass_fields__
    loaded = Embeddings(**{name: np.load(folder / f"{name}.npy", allow_pickle=False) for name in names})
    if len(loaded.image) != len(loaded.image_ids):
        raise RelalignError(f"{folder}: image.npy and image_ids.npy differ in their number of rows.")
    if not len(loaded.text) == len(loaded.text_ids) == len(loaded.text_image_ids):
        raise RelalignError(f"{folder}: text.npy, text_ids.npy and text_image_ids.npy differ in length.")
    if not np.isin(loaded.text_image_ids, loaded.image_ids).all():
        raise RelalignError(f"{folder}: text_image_ids.npy names an image that image_ids.npy does not hold.")
    return loaded
