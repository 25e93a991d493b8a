"""Your own data: a table of captions and a folder or archive of images.

CSV with any usual separator (`relalign.data.readers.delimited`), JSON lines, a JSON list of records, or
Parquet. The columns of images, captions and, optionally, split, label and language are found as
`relalign.data.readers.columns` says. A row a caption, or a row an image with a list of captions. Hugging Face's
`imagefolder` is this too: its `metadata.csv` or `metadata.jsonl`, one or one a split, stands among the images.
An image without a split gets one from its pixels: 70 % train, 10 % val, 20 % test, the same on every machine,
and the same for all copies of a picture.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from relalign.data.readers.columns import Columns, choose_columns
from relalign.data.readers.delimited import SEPARATORS, decoded, fitted, read_delimited
from relalign.data.readers.files import find_captions_file, find_images
from relalign.data.readers.row import SPLIT_WORDS, Row
from relalign.errors import RelalignError
from relalign.settings.dataset import Dataset
from relalign.system.json_text import parse_json

log = logging.getLogger(__name__)

TEXT = (".csv", ".tsv", ".txt", ".token")
JSON = (".jsonl", ".ndjson", ".json")
SUFFIXES = (*TEXT, *JSON, ".parquet")
METADATA = "metadata"
_FIRST_ROWS = 1000


def prepare(folder: Path, dataset: Dataset) -> None:
    """Nothing to do: the files are read as they come."""


def rows(folder: Path, dataset: Dataset) -> Iterator[Row]:
    """A row a caption, in the table's order; empty cells of optional columns count as absent.

    A row that lacks its caption yields an empty one, which validation leaves out and names. Raises `RelalignError`
    naming the file and the column that is missing, or the row without an image.
    """
    for file in _files(folder, dataset):
        table = _read(file)
        columns = choose_columns(table.names, table.rows[:_FIRST_ROWS], dataset, file=file.name)
        cells = _fitted(table, columns, file)
        lines = [_line(row, columns, f"{file.name}: row {n}") for row, n in zip(cells, table.numbers, strict=True)]
        inside, split = _place(file, folder)
        found = find_images((inside + line.image for line in lines), folder / "images", table=file.name)
        for line in lines:
            name = inside + line.image
            for caption in line.captions:
                yield Row(
                    f"images/{found.paths.get(name, name)}",
                    caption,
                    line.split or split,
                    line.origin,
                    label=line.label,
                    language=line.language,
                )


@dataclass(frozen=True)
class _Table:
    """Any table: its columns, its rows, where each stands, and for text what divides the cells."""

    names: Sequence[str]
    rows: Sequence[Sequence[Any]]
    numbers: Sequence[int]
    separator: str | None = None


@dataclass(frozen=True, slots=True)
class _Line:
    origin: str
    image: str
    captions: Sequence[object]
    split: str | None
    label: str | None
    language: str | None


def _files(folder: Path, dataset: Dataset) -> list[Path]:
    if (folder / "captions").is_dir():
        return [find_captions_file(folder / "captions", dataset.captions_file, SUFFIXES)]
    metadata = sorted(p for p in (folder / "images").rglob(f"{METADATA}.*") if p.suffix.lower() in SUFFIXES)
    return metadata or [find_captions_file(folder / "images", dataset.captions_file, SUFFIXES)]


def _place(file: Path, folder: Path) -> tuple[str, str | None]:
    """Of an `imagefolder`'s metadata: the folder that its names are in, and the split that the folder is
    called."""
    if file.stem != METADATA or file.parent == folder / "captions":
        return "", None
    inside = file.parent.relative_to(folder / "images")
    return ("" if inside == Path() else f"{inside.as_posix()}/"), SPLIT_WORDS.get(inside.name.casefold())


def _read(file: Path) -> _Table:
    if file.suffix.lower() in TEXT:
        text = read_delimited(file)
        return _Table(text.columns, text.rows, text.lines, text.separator)
    if file.suffix.lower() in JSON:
        return _from_records(*_records(file))
    try:
        frame = pd.read_parquet(file)
    except (ValueError, OSError) as error:  # pyarrow's errors are these
        raise RelalignError(f"{file}: not a readable table ({error}). Write it anew.") from error
    return _Table([*map(str, frame.columns)], [*frame.itertuples(index=False, name=None)], range(len(frame)))


def _records(file: Path) -> tuple[list[Any], Sequence[int]]:
    """The objects of JSON lines, or of one list; and the line or place of each."""
    text = decoded(file)
    if file.suffix.lower() == ".json":
        try:
            content = parse_json(text)
        except ValueError as error:
            raise RelalignError(f"{file}: not a readable json file ({error}). Write it anew.") from error
        if not isinstance(content, list):
            raise RelalignError(
                f"{file}: is no list of records. For COCO's or VizWiz's files set reader: coco, for Karpathy's "
                "reader: karpathy."
            )
        return content, range(len(content))
    numbered = [(n, line) for n, line in enumerate(text.split("\n"), start=1) if line.strip()]
    records = []
    for number, line in numbered:
        try:
            records.append(parse_json(line))
        except ValueError as error:
            raise RelalignError(f"{file}: row {number} is not JSON ({error}). Mend or remove the line.") from error
    return records, [number for number, _ in numbered]


def _from_records(records: list[Any], numbers: Sequence[int]) -> _Table:
    kept = [record if isinstance(record, dict) else {} for record in records]
    names = list(dict.fromkeys(name for record in kept for name in record))
    return _Table(names, [[record.get(name) for name in names] for record in kept], numbers)


def _fitted(table: _Table, columns: Columns, file: Path) -> Sequence[Sequence[Any]]:
    if table.separator is None:
        return table.rows
    width = len(table.names)
    cells = [fitted(row, width, columns.caption, table.separator) for row in table.rows]
    mended = [
        number
        for number, old, new in zip(table.numbers, table.rows, cells, strict=True)
        if any(map(str.strip, old[len(new) :]))
    ]
    if mended:
        log.warning(
            "%s: %d rows have more cells than there are columns, row %d first: what is too many is taken as part "
            "of the caption. Quote captions that hold a %s",
            *(file.name, len(mended), mended[0], SEPARATORS[table.separator]),
        )
    return cells


def _line(row: Sequence[Any], columns: Columns, origin: str) -> _Line:
    def cell(place: int | None) -> Any:
        return row[place] if place is not None and place < len(row) else None

    image = cell(columns.image)
    if isinstance(image, dict):
        raise RelalignError(f"{origin}: the column of images holds pictures, not names. Set reader: shards.")
    name = _text(image)
    if name is None or not name.strip():
        raise RelalignError(f"{origin}: column 'image' is empty.")
    captions = cell(columns.caption)
    several = isinstance(captions, list | tuple | np.ndarray)
    optional = [_text(cell(place)) for place in (columns.split, columns.label, columns.language)]
    if several:
        return _Line(origin, name, list(captions), *optional)
    return _Line(origin, name, ["" if _absent(captions) else captions], *optional)


def _text(cell: Any) -> str | None:
    return None if _absent(cell) or cell == "" else str(cell)


def _absent(cell: Any) -> bool:
    return bool(cell is None or cell != cell)  # NaN differs from itself
