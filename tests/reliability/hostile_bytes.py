"""The readers of files that may come from anybody, each as a function of bytes, with a whole file of its kind.

What they make of any bytes is rows, pixels or a `RelalignError`; everything else is a fault.
"""

import io
import json
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from PIL import Image

from relalign.data.caption_checks import check_captions
from relalign.data.extract import Limits, extract_archive
from relalign.data.images import decode_image
from relalign.data.splits import given_splits
from relalign.errors import RelalignError
from relalign.settings import load_params
from relalign.settings.dataset import Dataset

CAPS = Limits(max_bytes=1 << 22, max_members=1000, ratio_free_bytes=1 << 20)
PARAMS = Path(__file__).parents[2] / "params.yaml"


@dataclass(frozen=True)
class Kind:
    """A kind of file: what reads it, and one that is whole."""

    read: Callable[[bytes, Path], None]
    whole: bytes


def reads(kind: str, content: bytes) -> None:
    """Let the reader of a kind have these bytes; an error that is no `RelalignError` passes through."""
    with tempfile.TemporaryDirectory() as folder, suppress(RelalignError):
        KINDS[kind].read(content, Path(folder))


def _archive(name: str) -> Callable[[bytes, Path], None]:
    def read(content: bytes, folder: Path) -> None:
        (folder / name).write_bytes(content)
        (folder / "out").mkdir()
        try:
            extract_archive(folder / name, folder / "out", CAPS)
        finally:
            assert sorted(path.name for path in folder.iterdir()) == sorted([name, "out"])
            assert not any(path.is_symlink() for path in folder.rglob("*"))

    return read


def _rows(reader: str, name: str) -> Callable[[bytes, Path], None]:
    def read(content: bytes, folder: Path) -> None:
        for path in (folder / "images/a.jpg", folder / name):
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
        url = {"url": "file:given"}
        dataset = Dataset.model_validate({"reader": reader, "sources": {"images": url, "captions": url}})
        rows = list(import_module(f"relalign.data.readers.{reader}").rows(folder, dataset))
        given_splits(rows)
        check_captions(rows)

    return read


def _image(content: bytes, folder: Path) -> None:
    (folder / "image").write_bytes(content)
    decode_image(folder / "image", 10_000)


def _params(content: bytes, folder: Path) -> None:
    (folder / "params.yaml").write_bytes(content)
    load_params(folder / "params.yaml")


def _zip() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/b.txt", "text" * 50)
        archive.writestr("c.txt", bytes(1000))
    return stream.getvalue()


def _tar(mode: str) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode, format=tarfile.PAX_FORMAT) as archive:
        for name in ("a/b.txt", "ä" * 120):
            entry = tarfile.TarInfo(name)
            entry.size = 600
            archive.addfile(entry, io.BytesIO(bytes(600)))
    return stream.getvalue()


def _picture(kind: str) -> bytes:
    stream = io.BytesIO()
    Image.linear_gradient("L").resize((24, 24)).convert("RGB").save(stream, kind)
    return stream.getvalue()


_COCO = {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"image_id": 1, "caption": "a dog"}]}
_KARPATHY = {
    "images": [{"filename": "a.jpg", "split": "train", "cocoid": 1, "sentences": [{"raw": "a dog", "sentid": 2}]}]
}
_RECORD = b'{"image": "a.jpg", "caption": ["a dog", "a cat"], "split": "val"}\n'
KINDS = {
    "zip": Kind(_archive("a.zip"), _zip()),
    "tar": Kind(_archive("a.tar"), _tar("w")),
    "tar.gz": Kind(_archive("a.tar.gz"), _tar("w:gz")),
    "tar.xz": Kind(_archive("a.tar"), _tar("w:xz")),
    "csv": Kind(_rows("table", "captions/a.csv"), b'image,caption,split\na.jpg,"a dog, a cat",train\n'),
    "jsonl": Kind(_rows("table", "captions/a.jsonl"), _RECORD * 2),
    "json": Kind(_rows("table", "captions/a.json"), b"[" + _RECORD + b"]"),
    "coco": Kind(_rows("coco", "captions/a.json"), json.dumps(_COCO).encode()),
    "karpathy": Kind(_rows("karpathy", "captions/a.json"), json.dumps(_KARPATHY).encode()),
    "sidecar": Kind(_rows("folder", "images/a.json"), b'{"caption": ["a dog", "a cat"]}'),
    "params": Kind(_params, PARAMS.read_bytes()),
    "png": Kind(_image, _picture("PNG")),
    "gif": Kind(_image, _picture("GIF")),
    "tiff": Kind(_image, _picture("TIFF")),
}
