"""A tiny project folder with real images, captions and tiny real encoders, for tests of the features stage."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from relalign.features.encoders import download_encoder
from relalign.features.extraction import extract_features
from relalign.settings.corruption import Corruption
from relalign.settings.encoder import Encoder, Features
from relalign.system.artifacts import publish
from tests.features.encoders.checkpoints import save_text, save_vision

CAPTIONS = (
    "a dog runs",
    "the small red cat sleeps on a mat",
    "two",
    "a cat",
    "the tree",
    "a dog",
    "red mat on a tree",
)
KINDS = {"image": "vit", "text": "bert"}


class FeatureProject:
    """`write_pairs`, then `extract("image" or "text")`, as often as a test likes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.settings = Features(batch_size=3, workers=2)
        for modality in KINDS:
            self.write_encoder(modality)
        self.write_pairs(CAPTIONS)

    def write_encoder(self, modality: str, *, seed: int = 0, **settings: object) -> None:
        """Make the encoder's checkpoint and publish it as the download stage does."""
        source = self.root / "checkpoints" / modality
        source.mkdir(parents=True, exist_ok=True)
        (save_vision if modality == "image" else save_text)(KINDS[modality], source, seed=seed)
        self.encoders = getattr(self, "encoders", {})
        self.encoders[modality] = Encoder.model_validate(
            {"kind": "transformers", "modality": modality, "model": f"checkpoints/{modality}", **settings}
        )
        self.publish_encoder(modality)

    def publish_encoder(self, modality: str) -> None:
        """Take the checkpoint folder over into `data/encoders`."""
        download_encoder(self.encoders[modality], self.encoder_folder(modality), root=self.root)

    def write_pairs(self, captions: Sequence[str]) -> None:
        """A pair a caption, with two captions an image; image i always has the same pixels."""
        rows = []
        for index, caption in enumerate(captions):
            image = self.image(index // 2)
            image.parent.mkdir(parents=True, exist_ok=True)
            if not image.exists():
                noise = np.random.default_rng(index // 2).integers(0, 256, (9, 13, 3), dtype=np.uint8)
                Image.fromarray(noise).save(image)
            path = image.relative_to(self.root).as_posix()
            rows.append((10 * index + 1, index // 2 + 100, caption, path, "train"))
        columns = ["caption_id", "image_id", "caption", "image_path", "split"]
        with publish(self.pairs, made_by="test") as draft:
            pd.DataFrame(rows, columns=columns).to_parquet(draft / "pairs.parquet", index=False)

    def image(self, index: int) -> Path:
        """The file of image `index`."""
        return self.root / f"data/raw/toy/{index}.png"

    @property
    def pairs(self) -> Path:
        """The folder of the pairs table."""
        return self.root / "data/pairs/toy"

    def encoder_folder(self, modality: str) -> Path:
        """The published encoder."""
        return self.root / "data/encoders" / modality

    def store(self, modality: str) -> Path:
        """The published features."""
        return self.root / "data/features/toy" / modality

    def work(self, modality: str) -> Path:
        """The hidden folder in which features are made."""
        return self.root / f"data/features/toy/.{modality}.work"

    def extract(self, modality: str, corruption: Corruption | None = None) -> Path:
        """Run the features stage."""
        extract_features(
            self.encoders[modality],
            self.encoder_folder(modality),
            self.pairs,
            self.store(modality),
            self.settings,
            root=self.root,
            corruption=corruption,
        )
        return self.store(modality)
