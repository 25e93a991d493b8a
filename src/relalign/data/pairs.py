"""The pairs table: one row a caption, with its image, its split, and what else the dataset knows."""

import hashlib

import pandas as pd

from relalign.errors import RelalignError
from relalign.layout import Layout
from relalign.system.artifacts import read_manifest


def read_pairs(layout: Layout, split: str | None = None, *, rotated_by: int | None = None) -> pd.DataFrame:
    """The pairs table, or the rows of one split; an empty split is an error.

    `rotated_by` is a seed that is to have a validation split of its own (see `rotate_validation`).
    """
    read_manifest(layout.pairs)
    pairs = pd.read_parquet(layout.pairs / "pairs.parquet")
    if rotated_by is not None:
        pairs = rotate_validation(pairs, rotated_by)
    if split is not None:
        pairs = pairs[pairs["split"] == split]
        if pairs.empty:
            raise RelalignError(f"{layout.pairs / 'pairs.parquet'} has no row with split '{split}'.")
    return pairs


def rotate_validation(pairs: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The pairs table with other images of train and val as val: about as many as it has, others for each seed.

    The images of both splits fall into equal folds, in the order of a hash of their paths; seed s validates on
    fold s, counted from the first again after the last. So the seeds together validate on many times as many
    images as one split has, and train on as many as before; methods with the same seed see the same images. The
    test split stays. (Near-duplicates that share a split may come to stand on both sides. This touches selection,
    never the test.)
    """
    splits = pairs.drop_duplicates("image_id").set_index("image_id")
    pool = splits[splits["split"] != "test"]
    validating = int((pool["split"] == "val").sum())
    if validating == 0:
        return pairs
    folds = max(2, round(len(pool) / validating))
    drawn = {image: hashlib.sha256(path.encode()).digest() for image, path in pool["image_path"].items()}
    chosen = sorted(drawn, key=drawn.__getitem__)[seed % folds :: folds]
    split = pairs["split"].where(pairs["split"] == "test", "train")
    return pairs.assign(split=split.mask(pairs["image_id"].isin(chosen), "val"))
