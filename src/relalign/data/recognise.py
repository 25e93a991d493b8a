"""What a person's files are: which reader understands a folder or file, and where its images lie."""

import os
import tarfile
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

from relalign.data.extract import is_archive
from relalign.data.readers.columns import USUAL, plain_name
from relalign.data.readers.delimited import decoded
from relalign.data.readers.files import IMAGE_SUFFIXES
from relalign.data.readers.table import JSON, METADATA, TEXT
from relalign.errors import RelalignError
from relalign.settings.dataset import Dataset, Source
from relalign.system.json_text import parse_json

_LISTED = 5


def recognise(path: Path, root: Path, *, images: Path | None = None) -> tuple[Dataset, str]:
    """The dataset that reads a folder or file, and in words what was recognised.

    Looked for in this order: what `datasets` saves to disk and Parquet with pictures in it, `imagefolder`'s
    metadata, one file in COCO's or Karpathy's format or several of COCO's, one table, captions beside the
    images, archives with these. Images are those of `images`, or else all below the folder, or its one archive.
    Sources within `root` are named relative to it.

    Raises `RelalignError` that says what lies there if it is none of these, or more than one.
    """
    if not path.exists():
        raise RelalignError(f"{path}: there is no such file or folder.")
    if path.is_file():
        return _of_file(path, root, images)
    files = sorted(file for file in path.rglob("*") if file.is_file() and not _hidden(file, path))
    if shards := [file for file in files if file.suffix.lower() == ".arrow" or _holds_pictures(file)]:
        return _dataset("shards", root, shards=path), f"{len(shards)} shards with pictures in them"
    pictures = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
    if metadata := [file for file in files if file.stem == METADATA and file.suffix.lower() in (*TEXT, *JSON)]:
        return _dataset("table", root, images=path), f"images with {_listed(metadata, path)} (imagefolder)"
    sidecars = {file.with_suffix("") for file in pictures}
    tables = [
        file
        for file in files
        if file.suffix.lower() in (*TEXT, *JSON, ".parquet") and file.with_suffix("") not in sidecars
    ]
    kinds = {file: _kind(file) for file in tables}
    known = {file: kind for file, kind in kinds.items() if kind}
    if len(set(known.values())) == 1 and (len(known) == 1 or set(known.values()) == {"coco"}):
        return _with_images(next(iter(known.values())), [*known], pictures, files, root, images)
    if len(known) > 1:
        raise RelalignError(
            f"{path}: holds several files that may be the captions: {_listed(known, path)}. Name the one: "
            f"relalign init {next(iter(known))}."
        )
    if tars := [file for file in files if file.suffix.lower() == ".tar"]:
        return _dataset(
            "folder", root, images=path
        ), f"{len(tars)} tar files of images with their captions (webdataset)"
    beside = sum(any(file.with_suffix(suffix).is_file() for suffix in (".txt", ".json")) for file in pictures)
    if beside:
        said = f"{len(pictures):,} images, {beside:,} of them with a .txt or .json beside them"
        return _dataset("folder", root, images=path), said
    raise RelalignError(
        f"{path}: holds {len(pictures):,} images and no captions that are known here, but {_listed(files, path)}. "
        "docs/own-data.md lists the formats; a CSV with the columns image and caption is the simplest."
    )


def _of_file(path: Path, root: Path, images: Path | None) -> tuple[Dataset, str]:
    if path.suffix.lower() == ".arrow" or _holds_pictures(path):
        return _dataset("shards", root, shards=path), "one shard with pictures in it"
    if is_archive(path):
        names = _members(path)
        sidecars = {PurePosixPath(name).with_suffix("") for name in names if _suffix(name) in IMAGE_SUFFIXES}
        tables = [
            n for n in names if _suffix(n) in (*TEXT, *JSON) and PurePosixPath(n).with_suffix("") not in sidecars
        ]
        if tables:
            return _dataset("table", root, images=path), f"an archive with images and {_listed(tables)}"
        return _dataset("folder", root, images=path), "an archive of images with their captions (webdataset)"
    kind = _kind(path)
    if kind is None:
        raise RelalignError(
            f"{path}: is no file of captions that is known here. docs/own-data.md lists the formats; a CSV with "
            "the columns image and caption is the simplest."
        )
    files = sorted(file for file in path.parent.rglob("*") if file.is_file() and not _hidden(file, path.parent))
    pictures = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
    return _with_images(kind, [path], pictures, files, root, images)


def _with_images(
    kind: str,
    captions: Sequence[Path],
    pictures: Sequence[Path],
    files: Sequence[Path],
    root: Path,
    images: Path | None,
) -> tuple[Dataset, str]:
    place = images
    if place is None and pictures:
        place = _common(pictures)
    if place is None:
        archives = [file for file in files if is_archive(file)]
        place = archives[0] if len(archives) == 1 else None
    if place is None:
        raise RelalignError(
            f"{captions[0].parent}: holds no images, nor one archive of them. Say where they are: --images FOLDER."
        )
    if not place.exists():
        raise RelalignError(f"{place}: there is no such folder or archive of images.")
    names = {
        "table": "a table of captions",
        "coco": "captions in COCO's format",
        "karpathy": "Karpathy's captions",
    }
    said = f"{names[kind]} ({_listed([file.name for file in captions])}) and images in {place}"
    sources = (
        {f"captions-{file.stem}": file for file in captions} if len(captions) > 1 else {"captions": captions[0]}
    )
    return _dataset(kind, root, **sources, images=place), said


def _dataset(reader: str, root: Path, **sources: Path) -> Dataset:
    return Dataset.model_validate(
        {"reader": reader, "sources": {name: Source(url=_url(path, root)) for name, path in sources.items()}}
    )


def _url(path: Path, root: Path) -> str:
    whole = path.resolve()
    inside = whole.relative_to(root.resolve()) if whole.is_relative_to(root.resolve()) else whole
    return f"file:{quote(inside.as_posix())}"


def _kind(file: Path) -> str | None:
    """The reader of a file of captions; None for a file that is none, such as a README.txt."""
    if file.suffix.lower() == ".json":
        try:
            content = parse_json(decoded(file))
        except (ValueError, RelalignError):
            return None
        if isinstance(content, list):
            return "table" if content and isinstance(content[0], dict) else None
        # COCO's archive of annotations holds boxes and key points too, and VizWiz's a test set without captions.
        marks = {"karpathy": ("images", "sentences"), "coco": ("annotations", "caption")}
        for reader, (key, mark) in marks.items():
            entries = content.get(key) if isinstance(content, dict) else None
            if isinstance(entries, list) and entries and mark in entries[0]:
                return reader
        return None
    if file.suffix.lower() == ".txt":  # which may be anything: most lines of a table name an image
        lines = decoded(file).splitlines()[:50]
        named = sum(any(suffix in line.lower() for suffix in IMAGE_SUFFIXES) for line in lines)
        return "table" if lines and named > len(lines) / 2 else None
    return "table" if file.suffix.lower() in (*TEXT, *JSON, ".parquet") else None


def _holds_pictures(file: Path) -> bool:
    if file.suffix.lower() != ".parquet":
        return False
    try:
        schema = pq.read_schema(file)
    except (pa.ArrowException, OSError) as error:
        raise RelalignError(f"{file}: not a readable Parquet file ({error}). Write it anew.") from error
    return any(
        plain_name(field.name) in USUAL["image"].split()
        and (
            pa.types.is_struct(field.type)
            or pa.types.is_binary(field.type)
            or pa.types.is_large_binary(field.type)
        )
        for field in schema
    )


def _members(archive: Path) -> list[str]:
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as packed:
                return packed.namelist()
        with tarfile.open(archive) as tar:
            return tar.getnames()
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError) as error:
        raise RelalignError(f"{archive} is damaged or not a readable archive ({error}).") from error


def _common(files: Iterable[Path]) -> Path:
    return Path(os.path.commonpath([file.parent for file in files]))


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _hidden(file: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in file.relative_to(folder).parts)


def _listed(files: Iterable[Path | str], folder: Path | None = None) -> str:
    names = [str(file.relative_to(folder) if folder and isinstance(file, Path) else file) for file in files]
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return (", ".join(names[:_LISTED]) or "nothing") + more
