"""The pairs table: one row a caption, with its image, its split, and what else the dataset knows."""

import pandas as pd

from relalign.errors import RelalignError
from relalign.layout import Layout
from relalign.system.artifacts import read_manifest


def read_pairs(layout: Layout, split: str | None = None) -> pd.DataFrame:
    """The pairs table, or the rows of one split; an empty split is an error."""
    read_manifest(layout.pairs)
    pairs = pd.read_parquet(layout.pairs / "pairs.parquet")
    if split is not None:
        pairs = pairs[pairs["split"] == split]
        if pairs.empty:
            raise RelalignError(f"{layout.pairs / 'pairs.parquet'} has no row with split '{split}'.")
    return pairs
