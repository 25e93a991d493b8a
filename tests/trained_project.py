"""A tiny project whose encoders train: real pictures and captions, tiny real checkpoints, features at a cut."""

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from relalign.features.encoders import download_encoder
from relalign.features.extraction import extract_features
from relalign.layout import Layout
from relalign.settings import Params
from relalign.system.artifacts import publish
from tests.features.encoders.checkpoints import WORDS, save_joint, save_text, save_vision
from tests.tiny_project import tiny_params

SPLITS = ("train",) * 24 + ("val",) * 8 + ("test",) * 8
CUTS = {"image": "layer.1", "text": "layer.2"}


def trained_params(
    *, image: str | None = CUTS["image"], text: str | None = CUTS["text"], views: int = 1, **sections
):
    """The repository's params.yaml with a tiny ViT and a tiny BERT, cut as given."""
    cuts = {"image": {"train_from": image, "views": views}, "text": {"train_from": text}}
    encoder = {
        f"tiny-{side}": {"kind": "transformers", "modality": side, "model": f"checkpoints/{side}", **cut}
        for side, cut in cuts.items()
    }
    encoders = {"image": "tiny-image", "text": "tiny-text"}
    return tiny_params(encoder=encoder, encoders=encoders, **sections)


def make_project(root: Path, params: Params, *, seed: int = 0, joint: str | None = None) -> Layout:
    """Pictures, pairs, encoders (ViT and BERT, or both of a `joint` model) and features under `root`."""
    layout = Layout(root, params.dataset)
    random = np.random.default_rng(seed)
    rows = []
    for image, split in enumerate(SPLITS):
        path = layout.raw / f"{image}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(path)
        words = random.choice(WORDS[2:12], size=4)
        for number in range(2):
            caption = " ".join(random.permutation(words)[: 3 + number])
            rows.append((2 * image + number, image, caption, path.relative_to(root).as_posix(), split))
    columns = ["caption_id", "image_id", "caption", "image_path", "split"]
    with publish(layout.pairs, made_by="tests") as draft:
        pd.DataFrame(rows, columns=columns).to_parquet(draft / "pairs.parquet", index=False)
    for side, name in params.encoders:
        folder = root / "checkpoints" / side
        folder.mkdir(parents=True)
        if joint:
            save_joint(joint, folder)
        elif side == "image":
            save_vision("vit", folder)
        else:
            save_text("bert", folder)
        download_encoder(params.encoder[name], layout.encoder(name), root=root)
        cache(params, layout, name)
    return layout


def cache(params: Params, layout: Layout, name: str) -> None:
    """Run the features stage of one encoder."""
    extract_features(
        params.encoder[name],
        layout.encoder(name),
        layout.pairs,
        layout.features(name),
        params.features,
        root=layout.root,
    )
