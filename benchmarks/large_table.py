"""How much memory a table of a million captions takes, from the CSV through validation to batches.

`python -m benchmarks.large_table [--images 20000] [--captions 1000000]`: writes small random pictures and a
CSV, downloads and validates them with the pipeline's own stages, and draws an epoch of batches over the pairs.
Prints the seconds and the peak of memory of this process, which must stay below 4 GB. (Images are few, as each
is decoded: what grows with captions is what is asked here.)
"""

import argparse
import csv
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from relalign.data.download import download_dataset
from relalign.data.validation import PAIRS, validate_dataset
from relalign.features.batches import SplitData
from relalign.features.table import Features, Table
from relalign.settings.dataset import Dataset, Source, Validate

WORDS = [
    "a",
    "an",
    "the",
    "dog",
    "cat",
    "bird",
    "man",
    "woman",
    "child",
    "red",
    "blue",
    "green",
    "small",
    "big",
    "runs",
    "sits",
    "jumps",
    "sleeps",
    "on",
    "in",
    "under",
    "near",
]


def write(folder, images, captions):
    random = np.random.default_rng(0)
    (folder / "images").mkdir()
    for number in range(images):
        pixels = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((32, 32)).save(folder / f"images/{number:07}.png")
    chosen = random.integers(0, len(WORDS), (captions, 9))
    with (folder / "captions.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["image", "caption"])
        table.writerows(
            (f"{row % images:07}.png", " ".join(WORDS[word] for word in words) + f" {row}")
            for row, words in enumerate(chosen)
        )


def batches(pairs):
    """An epoch over one-dimensional features: what remains is the pairs' own bookkeeping."""
    import pandas as pd

    table = pd.read_parquet(pairs / PAIRS, columns=["caption_id", "image_id"])
    images = np.unique(table["image_id"].to_numpy())

    def features(rows):
        ones = torch.ones(rows, 1)
        return Features(Table(ones[:, None], torch.ones(rows, dtype=torch.int64), ones, ones), torch.arange(rows))

    data = SplitData.build(
        images,
        table["caption_id"].to_numpy(),
        table["image_id"].to_numpy(),
        features(len(images)),
        features(len(table)),
    )
    return sum(len(batch.image_ids) for batch in data.epoch(1024, torch.Generator().manual_seed(0)))


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.large_table", description=__doc__)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--captions", type=int, default=1_000_000)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="large-table-", dir=".") as scratch:
        root = Path(scratch).resolve()
        write(root, chosen.images, chosen.captions)
        sources = {
            name: Source(url=f"file:{file}") for name, file in (("images", "images"), ("captions", "captions.csv"))
        }
        dataset = Dataset(reader="table", sources=sources)
        began = time.monotonic()
        download_dataset(dataset, root / "data/raw/own", root=root)
        validate_dataset(dataset, root / "data/raw/own", root / "data/pairs/own", Validate(), root=root)
        print(f"download and validate: {time.monotonic() - began:.0f} s, peak {_peak():.2f} GB")
        began = time.monotonic()
        pairs = batches(root / "data/pairs/own")
    print(f"an epoch of batches: {pairs:,} pairs in {time.monotonic() - began:.0f} s, peak {_peak():.2f} GB")


def _peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    main()
