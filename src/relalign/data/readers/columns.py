"""Which column of a table is what: as params.yaml says, else by its usual names, else by what it holds."""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from relalign.data.readers.files import IMAGE_SUFFIXES
from relalign.errors import RelalignError
from relalign.settings.dataset import Dataset

log = logging.getLogger(__name__)

USUAL = {
    "image": "image filename file_name file filepath file_path path image_name image_path image_file img picture "
    "photo url image_url image_id",
    "caption": "caption captions text texts sentence sentences comment comments description raw title alt_text",
    "split": "split subset partition",
    "label": "label class",
    "language": "language lang",
}
_USUAL = {role: tuple(names.split()) for role, names in USUAL.items()}
_HALF = 0.5


@dataclass(frozen=True)
class Columns:
    """The place of each column that is read; None: the table has none."""

    image: int
    caption: int
    split: int | None
    label: int | None
    language: int | None


def choose_columns(names: Sequence[str], rows: Sequence[Sequence[Any]], dataset: Dataset, *, file: str) -> Columns:
    """Which columns to read: those that the dataset names, else the first usual name, else by the first `rows`.

    By content the images are in the column where most cells end as an image's name does, the captions in the
    longest of the others; that is logged. Raises `RelalignError` naming the columns that there are.
    """
    asked = {"image": dataset.image_column, "caption": dataset.caption_column, "split": dataset.split_column}
    plain = [plain_name(name) for name in names]
    places: dict[str, int | None] = {}
    for role, usual in _USUAL.items():
        wanted = asked.get(role)
        if wanted is not None and plain_name(wanted) not in plain:
            raise RelalignError(f"{file}: there is no column '{wanted}' (there are {', '.join(names)}).")
        choices = usual if wanted is None else (plain_name(wanted),)
        places[role] = next((plain.index(name) for name in choices if name in plain), None)
    guessed = {**places}
    if places["image"] is None:
        guessed["image"] = _with_images(len(names), rows)
    if places["caption"] is None:
        guessed["caption"] = _longest(len(names), rows, without=guessed.values())
    for role in ("image", "caption"):
        if guessed[role] is None:
            raise RelalignError(
                f"{file}: no column is known to hold the {role}s (there are {', '.join(names)}). Name it: "
                f"{role}_column of the dataset in params.yaml, --{role}-column of relalign init."
            )
    said = (
        f"{role}: '{names[place]}'" + ("" if places[role] is not None else " (by what it holds)")
        for role, place in guessed.items()
        if place is not None
    )
    log.info("%s: columns taken: %s", file, ", ".join(said))
    return Columns(**guessed)  # type: ignore[arg-type]  # neither of the two is None


def is_header(first: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first row names columns: it has a usual name, or no image where most other rows have one."""
    if any(map(looks_like_image, first)):
        return False
    known = {name for names in _USUAL.values() for name in names}
    with_image = sum(any(map(looks_like_image, cells)) for cells in rows)
    return any(plain_name(cell) in known for cell in first) or with_image > _HALF * len(rows)


def plain_name(name: str) -> str:
    """A column's name as it is compared: lower case, without space around, `_` for what divides words."""
    return re.sub(r"[\s.-]+", "_", str(name).strip().casefold())


def looks_like_image(cell: Any) -> bool:
    """Whether a cell ends as the name of an image does, `#0` behind it or not."""
    return (
        isinstance(cell, str)
        and PurePosixPath(re.sub(r"#\d+$", "", cell.strip())).suffix.lower() in IMAGE_SUFFIXES
    )


def _with_images(width: int, rows: Sequence[Sequence[Any]]) -> int | None:
    counts = [sum(place < len(row) and looks_like_image(row[place]) for row in rows) for place in range(width)]
    best = max(range(width), key=lambda place: counts[place], default=None)
    return best if best is not None and counts[best] > _HALF * len(rows) else None


def _longest(width: int, rows: Sequence[Sequence[Any]], without: Any) -> int | None:
    def length(place: int) -> int:
        return sum(len(row[place]) for row in rows if place < len(row) and isinstance(row[place], str))

    free = [place for place in range(width) if place not in without]
    best = max(free, key=length, default=None)
    return best if best is not None and length(best) else None
