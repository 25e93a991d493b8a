"""A project small enough for unit tests: features drawn from a shared latent space, so that methods can learn."""

from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray

from relalign.layout import Layout
from relalign.settings import Params, parse_params
from relalign.system.artifacts import publish

IMAGE_WIDTH, TEXT_WIDTH, LATENT = 12, 10, 6
SPLITS = {"train": 60, "val": 20, "test": 20}
CAPTIONS_AN_IMAGE = 2


def tiny_params(**sections: object) -> Params:
    """The repository's params.yaml with tiny models and the given sections' keys replaced."""
    raw = yaml.safe_load((Path(__file__).parents[1] / "params.yaml").read_text())
    raw["tracking"] = {"enabled": False}
    raw["datasets"][raw["dataset"]]["rotate_validation"] = False
    raw["backbone"] = {"width": 16, "embedding_width": 8, "fusion_width": 16, "heads": 2}
    raw["backbone"] |= {"dropout": 0.1, "summary_dropout": 0.1}
    raw["training"] = {
        "device": "cpu",
        "epochs": 4,
        "batch_size": 16,
        "checkpoint_seconds": 0.0,
        "learning_rate": 0.001,
    }
    for name, keys in sections.items():
        raw[name] = {**raw[name], **keys} if isinstance(keys, dict) else keys
    return parse_params(raw)


def make_features(root: Path, params: Params, *, seed: int = 0, image_tokens: int = 5) -> Layout:
    """Write the pairs table and both feature stores of a tiny dataset under `root`."""
    layout = Layout(root, params.dataset)
    random = np.random.default_rng(seed)
    images = sum(SPLITS.values())
    latent = random.normal(size=(images, LATENT))
    splits = np.repeat(list(SPLITS), list(SPLITS.values()))
    pairs = pd.DataFrame(
        {
            "caption_id": np.arange(images * CAPTIONS_AN_IMAGE),
            "image_id": np.repeat(np.arange(images), CAPTIONS_AN_IMAGE),
            "caption": [f"thing {i // 2} number {i}" for i in range(images * CAPTIONS_AN_IMAGE)],
            "image_path": [f"image_{i // 2}.png" for i in range(images * CAPTIONS_AN_IMAGE)],
            "split": np.repeat(splits, CAPTIONS_AN_IMAGE),
        }
    )
    with publish(layout.pairs, made_by="tests") as draft:
        pairs.to_parquet(draft / "pairs.parquet")
    text_latent = latent[pairs["image_id"]] + 0.1 * random.normal(size=(len(pairs), LATENT))
    _store(layout.features(params.encoders.image), latent, IMAGE_WIDTH, image_tokens, random, fixed_length=True)
    _store(layout.features(params.encoders.text), text_latent, TEXT_WIDTH, 7, random, fixed_length=False)
    return layout


def _store(
    folder: Path,
    latent: NDArray[np.float64],
    width: int,
    tokens: int,
    random: np.random.Generator,
    *,
    fixed_length: bool,
) -> None:
    rows = len(latent)
    pooled = latent @ random.normal(size=(LATENT, width))
    array = pooled[:, None] + 0.2 * random.normal(size=(rows, tokens, width))
    lengths = np.full(rows, tokens) if fixed_length else random.integers(1, tokens + 1, rows)
    array[np.arange(tokens) >= lengths[:, None]] = 0
    with publish(folder, made_by="tests") as draft:
        np.save(draft / "tokens.npy", array.astype(np.float16))
        np.save(draft / "lengths.npy", lengths.astype(np.int32))
        np.save(draft / "pooled.npy", pooled.astype(np.float32))
        np.save(draft / "summary.npy", np.concatenate([pooled, array.mean(1)], axis=1).astype(np.float16))
        np.save(draft / "ids.npy", np.arange(rows))
        np.save(draft / "inputs.npy", np.zeros((rows, 32), dtype=np.uint8))


def spoil_test_rows(layout: Layout, params: Params) -> None:
    """Overwrite all features of the test split: what does not read them stays as it is."""
    pairs = pd.read_parquet(layout.pairs / "pairs.parquet")
    for encoder, column in ((params.encoders.image, "image_id"), (params.encoders.text, "caption_id")):
        folder = layout.features(encoder)
        arrays = {path.name: np.load(path) for path in folder.glob("*.npy")}
        rows = np.searchsorted(arrays["ids.npy"], pairs.loc[pairs["split"] == "test", column].unique())
        for name in ("tokens.npy", "pooled.npy", "summary.npy"):
            arrays[name][rows] = 7
        with publish(folder, made_by="tests") as draft:
            for name, array in arrays.items():
                np.save(draft / name, array)
