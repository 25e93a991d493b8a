"""How the time of each stage grows with the rows: `python -m benchmarks.growth [--rows N ...] [--method NAME]`.

Twice: with more and more training images (two captions each) beside a test split that stays, and with more and
more test images beside a training split that stays. Features and captions are made up, of few and narrow tokens:
what is asked is the exponent, the slope of log seconds over log rows, from the two largest sizes. (Downloads and
validation: `benchmarks.large_table`; an index: `benchmarks.search_index`.)
"""

import argparse
import logging
import math
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.large_table import WORDS
from relalign.evaluation.stage import evaluate
from relalign.layout import Layout
from relalign.retrieval.relevance_files import make_relevance
from relalign.settings import Params, load_params
from relalign.system.artifacts import publish
from relalign.training.runs import export, train

FEW, CAPTIONS, LATENT = 500, 2, 16
IMAGE = {"tokens": (4, 64), "pooled": 128, "summary": 256}
TEXT = {"tokens": (9, 64), "pooled": 128, "summary": 256}


def write_store(folder, latent, random, *, tokens, pooled, summary):
    """Features in which a row of `latent` can be found again."""
    rows = len(latent)
    with publish(folder, made_by="benchmark") as draft:
        for name, dtype, width in (("pooled", np.float32, pooled), ("summary", np.float16, summary)):
            np.save(draft / f"{name}.npy", (latent @ random.normal(size=(LATENT, width))).astype(dtype))
        np.save(draft / "tokens.npy", random.normal(size=(rows, *tokens)).astype(np.float16))
        np.save(draft / "lengths.npy", np.full(rows, tokens[0], dtype=np.int32))
        np.save(draft / "ids.npy", np.arange(rows))
        np.save(draft / "inputs.npy", np.zeros((rows, 32), dtype=np.uint8))


def write_project(root, params, train_images, test_images):
    layout, random = Layout(root, params.dataset), np.random.default_rng(0)
    split = np.repeat(["train", "val", "test"], [train_images, FEW, test_images])
    owner = np.repeat(np.arange(len(split)), CAPTIONS)
    words = random.integers(0, len(WORDS), (len(owner), 9))
    pairs = pd.DataFrame(
        {
            "caption_id": np.arange(len(owner)),
            "image_id": owner,
            "caption": [" ".join(WORDS[word] for word in row) for row in words],
            "image_path": [f"{image}.png" for image in owner],
            "split": split[owner],
        }
    )
    with publish(layout.pairs, made_by="benchmark") as draft:
        pairs.to_parquet(draft / "pairs.parquet", index=False)
    latent = random.normal(size=(len(split), LATENT))
    write_store(layout.features(params.encoders.image), latent, random, **IMAGE)
    said = latent[owner] + random.normal(size=(len(owner), LATENT))
    write_store(layout.features(params.encoders.text), said, random, **TEXT)
    return layout


def quick(params):
    """One epoch, no tracking, one split for validation."""
    dataset = params.datasets[params.dataset].model_copy(update={"rotate_validation": False})
    training = params.training.model_copy(update={"epochs": 1, "select_from": 0.0, "batch_size": 512})
    tracking = params.tracking.model_copy(update={"enabled": False})
    datasets = {**params.datasets, params.dataset: dataset}
    return Params.model_copy(params, update={"training": training, "tracking": tracking, "datasets": datasets})


def seconds_of(params, method, train_images, test_images):
    with tempfile.TemporaryDirectory(prefix="growth-", dir=".") as scratch:
        layout = write_project(Path(scratch).resolve(), params, train_images, test_images)
        stages = {
            "relevance": lambda: make_relevance(layout),
            "train": lambda: train(params, layout, method=method, seed=0),
            "export": lambda: export(params, layout, method=method, seed=0),
            "evaluate": lambda: evaluate(params, layout, method=method, seed=0),
        }
        found = {}
        for name, stage in stages.items():
            began = time.process_time()
            stage()
            found[name] = time.process_time() - began
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 4000, 16000])
    parser.add_argument("--test-rows", type=int, nargs="+", default=[500, 1000, 2000])
    parser.add_argument("--method", default="contrastive")
    options = parser.parse_args()
    logging.disable(logging.INFO)
    params = quick(load_params(Path("params.yaml")))
    seconds_of(params, options.method, FEW, FEW)  # what is loaded once does not count
    for what, sizes, of in (
        ("training images", options.rows, lambda size: (size, FEW)),
        ("test images", options.test_rows, lambda size: (FEW, size)),
    ):
        found = [seconds_of(params, options.method, *of(size)) for size in sizes]
        print(f"{what:16}" + "".join(f"{size:>10,}" for size in sizes) + "  exponent")
        for stage in found[0]:
            times = [each[stage] for each in found]
            exponent = math.log(times[-1] / times[-2]) / math.log(sizes[-1] / sizes[-2]) if len(sizes) > 1 else 0.0
            print(f"{stage:16}" + "".join(f"{one:>8.2f} s" for one in times) + f"{exponent:>10.2f}")


if __name__ == "__main__":
    main()
