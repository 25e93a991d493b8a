"""How fast batches come from stores of MS-COCO's size, and in how much memory.

`python -m benchmarks.streaming [--images 113287] [--captions 566747]`: makes sparse synthetic stores of
activations at a cut (which fill little of a disk), starts at CCA, and takes all batches of an epoch, each read
whole. Prints pairs a second and the peak of memory, which must stay below 8 GB.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap

from relalign.features.batches import SplitData
from relalign.features.store import FeatureStore
from relalign.methods.cca import canonical_sides
from relalign.system.artifacts import publish
from relalign.training.split_data import features_from

IMAGE = {"tokens": (81, 192), "pooled": 1280, "summary": 2560}  # EfficientNet-Lite0 at 288 px, from blocks.13
TEXT = {"tokens": (40, 384), "pooled": 384, "summary": 2688}  # MiniLM from layer.3, captions cut at 40 tokens


def write_store(folder, rows, *, tokens, pooled, summary, content):
    """A store whose tokens are zeros that take no disk, and whose vectors are random."""
    random = np.random.default_rng(0)
    with publish(
        folder, made_by="benchmark", parameters={"encoder": {"settings": {"train_from": "cut"}}}
    ) as draft:
        open_memmap(draft / "tokens.npy", "w+", np.float16, (rows, *tokens))
        np.save(
            draft / "lengths.npy",
            random.integers(8, 25, rows).astype(np.int32) if content else np.full(rows, tokens[0], dtype=np.int32),
        )
        for name, dtype, width in (("pooled", np.float32, pooled), ("summary", np.float16, summary)):
            array = open_memmap(draft / f"{name}.npy", "w+", dtype, (rows, width))
            some = random.standard_normal((min(rows, 4096), width)).astype(dtype)
            for start in range(0, rows, len(some)):
                part = array[start : start + len(some)]
                part[:] = some[: len(part)]
        np.save(draft / "ids.npy", np.arange(rows))
        np.save(draft / "inputs.npy", np.zeros((rows, 32), dtype=np.uint8))
        if content:
            open_memmap(draft / "content.npy", "w+", np.bool_, (rows, tokens[0]))


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.streaming", description=__doc__)
    parser.add_argument("--images", type=int, default=113_287)
    parser.add_argument("--captions", type=int, default=566_747)
    parser.add_argument("--batch-size", type=int, default=1024)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="streaming-", dir=".") as scratch:
        root = Path(scratch)
        write_store(root / "image", chosen.images, **IMAGE, content=False)
        write_store(root / "text", chosen.captions, **TEXT, content=True)
        image, text = FeatureStore.open(root / "image"), FeatureStore.open(root / "text")
        owner = np.sort(np.arange(chosen.captions) % chosen.images)
        device = torch.device("cpu")
        sides = features_from(image, image.ids, device), features_from(text, text.ids, device)
        data = SplitData.build(np.array(image.ids), np.array(text.ids), owner, *sides)
        began = time.monotonic()
        canonical_sides(data, width=384, regularisation=2.0, power=1.0)
        print(f"CCA start: {time.monotonic() - began:.0f} s, peak {_peak():.1f} GB")
        began = time.monotonic()
        for batch in data.epoch(chosen.batch_size, torch.Generator().manual_seed(0)):
            for side in (batch.image, batch.text):
                side.tokens(), side.pooled, side.summary
        seconds = time.monotonic() - began
    print(f"an epoch: {chosen.images / seconds:.0f} pairs a second ({seconds:.0f} s), peak {_peak():.1f} GB")


def _peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    main()
