"""Your own data: a CSV, TSV or Parquet file of captions and a folder or archive of images.

Columns: `image` (a path within the source `images`) and `caption`; optional `split` (train, val, test), `label`
and `language`. A row a caption; an image may stand in many rows. An image without a split gets one from its
pixels: 70 % train, 10 % val, 20 % test, the same on every machine, and the same for all copies of a picture.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from relalign.data.readers.files import ImageIndex, find_captions_file
from relalign.data.readers.row import Row
from relalign.errors import RelalignError
from relalign.settings.dataset import Dataset

_OPTIONAL = ("split", "label", "language")


def prepare(folder: Path) -> None:
    """Nothing to do: the files are read as they come."""


def rows(folder: Path, dataset: Dataset) -> Iterator[Row]:
    """A row a line of the table, in its order; empty cells of optional columns count as absent.

    Raises `RelalignError` naming the file and the column that is missing or of the wrong type.
    """
    file = find_captions_file(folder / "captions", dataset.captions_file, (".csv", ".tsv", ".parquet"))
    table = _read(file)
    for column in ("image", "caption"):
        if column not in table.columns:
            raise RelalignError(f"{file}: there is no column '{column}' (there are {', '.join(table.columns)}).")
    index = ImageIndex(folder / "images")
    first_line = 2 if file.suffix.lower() != ".parquet" else 0
    for number, record in enumerate(table.to_dict(orient="records"), start=first_line):
        origin = f"{file.name}: row {number}"
        name = record["image"]
        if not isinstance(name, str) or not name.strip():
            raise RelalignError(f"{origin}: column 'image' is empty.")
        optional = {key: _text(record.get(key)) for key in _OPTIONAL}
        yield Row(f"images/{index.find(name) or name}", record["caption"], origin=origin, **optional)


def _read(file: Path) -> pd.DataFrame:
    try:
        if file.suffix.lower() == ".parquet":
            return pd.read_parquet(file)
        separator = "\t" if file.suffix.lower() == ".tsv" else ","
        return pd.read_csv(file, sep=separator, dtype=str, keep_default_na=False)
    except (ValueError, OSError) as error:  # pandas' and pyarrow's parser errors and UnicodeDecodeError are these
        raise RelalignError(f"{file}: not a readable table ({error}). Save it as UTF-8 CSV or Parquet.") from error


def _text(cell: Any) -> Any:
    return None if cell is None or cell != cell or cell == "" else str(cell)  # NaN differs from itself
