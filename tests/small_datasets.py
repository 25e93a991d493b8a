"""Tiny datasets in the real formats, made on the spot."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from relalign.settings.dataset import Dataset, Source


def picture(seed: int, size: int = 32) -> Image.Image:
    """A picture that resembles no other seed's."""
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    image.save(
        stream, kind, **({"quality": 95, "subsampling": 0} if kind == "JPEG" and image.mode == "RGB" else {})
    )
    return stream.getvalue()


def karpathy_entry(name: str, split: str, captions: list[object], **more: object) -> dict[str, object]:
    sentences = [{"raw": caption, "tokens": [], "sentid": 0, "imgid": 0} for caption in captions]
    return {"filename": name, "imgid": 0, "split": split, "sentids": [], "sentences": sentences, **more}


def write_karpathy(folder: Path, entries: list[dict[str, object]], images: dict[str, bytes]) -> Dataset:
    """dataset_tiny.json and images.tar in `folder`, and the dataset that reads them by `file:` sources."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dataset_tiny.json").write_text(json.dumps({"dataset": "tiny", "images": entries}))
    with tarfile.open(folder / "images.tar", "w") as archive:
        for name, content in images.items():
            entry = tarfile.TarInfo(f"wrapped/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    files = {"captions": "dataset_tiny.json", "images": "images.tar"}
    return Dataset(reader="karpathy", sources={k: Source(url=f"file:{folder / f}") for k, f in files.items()})


def ordinary(
    splits: str = "train train train train val val test test",
) -> tuple[list[dict[str, object]], dict[str, bytes]]:
    """An image a word of `splits`, two captions each, nothing wrong with any."""
    names = splits.split()
    entries = [karpathy_entry(f"{n}.png", s, [f"picture {n}", f"this is {n}"]) for n, s in enumerate(names)]
    return entries, {f"{number}.png": encoded(picture(number)) for number in range(len(names))}
