"""The sections `datasets` and `validate`: where images and captions come from, and what is accepted of them."""

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import unquote

from pydantic import Field

from relalign.settings.section import Count, Name, Section


class Source(Section):
    """Where bytes come from, what they must hash to, and on what terms they may be used."""

    url: str
    """`https:`, `http:`, `file:` (a path), or `pypi:name==version`."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """What the bytes must hash to. Without it the first download warns and prints it."""
    licence: str = "not stated"
    """The terms of use; shown in the report."""
    attribution: str = "not stated"
    """Whom to name; shown in the report."""


def local_path(url: str) -> Path | None:
    """The path that a `file:` url names, which may be relative to the project's folder; None for other urls."""
    if not url.startswith("file:"):
        return None
    return Path(unquote(url.removeprefix("file:").removeprefix("//"))).expanduser()


class Dataset(Section):
    """Images with captions."""

    reader: Literal["openmoji", "karpathy", "table", "coco", "folder", "shards"]
    """The file of `relalign/data/readers/` that understands the sources."""
    sources: dict[Name, Source]
    """The archives or folders that make up the dataset."""
    captions_file: str | None = None
    """The file with the captions, where a source holds several."""
    image_column: str | None = None
    """The column of a table that names the images; none: found by its name or by what it holds."""
    caption_column: str | None = None
    """The column that holds the captions; none: found by its name or by what it holds."""
    split_column: str | None = None
    """The column that says to which split an image belongs; none: `split`, `subset` or `partition`."""
    rotate_validation: bool = False
    """Each seed validates on other images of train and val, as many as val has: for data whose own val split is
    too small to be trusted."""
    keep_duplicate_captions: bool = False
    """Keep a caption that an image has twice, as published test splits count it."""


class Validate(Section):
    """What is accepted as data."""

    on_bad_image: Literal["fail", "skip"] = "skip"
    """What to do with an image that cannot be decoded."""
    on_bad_caption: Literal["fail", "skip"] = "skip"
    """What to do with a caption that is empty or no text."""
    max_pixels: Count = 50_000_000
    """Larger images are refused before they are decoded. Unit: pixels."""
    near_duplicate_bits: Annotated[int, Field(ge=0, le=64)] = 6
    """Two images are near-duplicates if their hashes differ by at most this. Unit: bits, of 64."""
    on_split_leak: Literal["fail", "drop_from_train", "drop_from_train_and_val"] = "drop_from_train"
    """What to do with near-duplicates over two splits."""
