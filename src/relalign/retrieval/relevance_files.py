"""The stage `relevance`: how relevant each test image is to each test caption, computed once a dataset."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64
from numpy.typing import NDArray

from relalign.data.pairs import read_pairs
from relalign.errors import RelalignError
from relalign.layout import Layout
from relalign.metrics.relevance import rouge_l
from relalign.system.artifacts import publish, read_manifest
from relalign.system.disk import allocate


@dataclass(frozen=True)
class Relevance:
    """ROUGE-L of caption `caption_ids[c]` against the captions of image `image_ids[i]`, memory-mapped."""

    matrix: Float32[NDArray[np.float32], "caption image"]
    caption_ids: Int64[NDArray[np.int64], " caption"]
    image_ids: Int64[NDArray[np.int64], " image"]


def make_relevance(layout: Layout) -> None:
    """Publish `data/relevance/<dataset>/` from the captions of the test split, memory-mapped while it is made."""
    pairs = read_pairs(layout, "test").sort_values("caption_id")
    image_ids, column = np.unique(pairs["image_id"].to_numpy(), return_inverse=True)
    with publish(layout.relevance, made_by="relalign relevance", inputs={"pairs": layout.pairs}) as draft:
        shape = (len(pairs), len(image_ids))
        allocate(draft / "relevance.npy", np.float32, shape)
        out = np.load(draft / "relevance.npy", mmap_mode="r+", allow_pickle=False)
        rouge_l(pairs["caption"].tolist(), column, len(image_ids), out=out)
        out.flush()
        np.save(draft / "caption_ids.npy", pairs["caption_id"].to_numpy(np.int64), allow_pickle=False)
        np.save(draft / "image_ids.npy", image_ids.astype(np.int64), allow_pickle=False)


def relevance_of_split(layout: Layout, split: str, *, rotated_by: int | None = None) -> Relevance:
    """The same for any split, in memory: training and tuning need that of the validation split.

    `rotated_by` is a seed that has a validation split of its own.
    """
    pairs = read_pairs(layout, split, rotated_by=rotated_by).sort_values("caption_id")
    image_ids, column = np.unique(pairs["image_id"].to_numpy(), return_inverse=True)
    matrix = rouge_l(pairs["caption"].tolist(), column, len(image_ids))
    return Relevance(matrix, pairs["caption_id"].to_numpy(np.int64), image_ids.astype(np.int64))


def load_relevance(folder: Path) -> Relevance:
    """A published relevance folder; a matrix out of step with its ids is an error."""
    read_manifest(folder, verify=True)
    caption_ids = np.load(folder / "caption_ids.npy", allow_pickle=False)
    image_ids = np.load(folder / "image_ids.npy", allow_pickle=False)
    matrix = np.load(folder / "relevance.npy", mmap_mode="r", allow_pickle=False)
    if matrix.shape != (len(caption_ids), len(image_ids)):
        raise RelalignError(
            f"{folder}: relevance.npy is {matrix.shape}, but there are {len(caption_ids)} captions and "
            f"{len(image_ids)} images. Delete the folder and run the pipeline again."
        )
    return Relevance(matrix, caption_ids, image_ids)
