"""Tables as text: comma, tab, semicolon or `|` between the cells, with or without a header, in four encodings."""

import csv
import logging
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Literal

from relalign.data.readers.columns import is_header
from relalign.data.readers.files import IMAGE_SUFFIXES
from relalign.errors import RelalignError

log = logging.getLogger(__name__)

SEPARATORS = {",": "comma", "\t": "tab", ";": "semicolon", "|": "|"}
_FIRST_LINES = 50
_QUOTED: Literal[0] = csv.QUOTE_MINIMAL
_UNQUOTED: Literal[3] = csv.QUOTE_NONE
_BYTE_ORDER_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
_ENCODINGS = {"utf-16": "UTF-16", "utf-16-le": "UTF-16", "utf-16-be": "UTF-16", "cp1252": "Windows-1252"}
_NAME_OF_IMAGE = re.compile(rf"({'|'.join(map(re.escape, sorted(IMAGE_SUFFIXES)))})\b(#\d+)?", re.IGNORECASE)


@dataclass(frozen=True)
class TextTable:
    """The cells of a table: the columns' names, and of each row its cells and the line at which it starts.

    Without a header the columns are `column 1`, `column 2`, ... A row may have fewer or more cells than columns.
    """

    columns: tuple[str, ...]
    rows: list[list[str]]
    lines: list[int]
    separator: str


def read_delimited(file: Path) -> TextTable:
    """Read a table of text; an encoding other than UTF-8 is logged.

    Raises `RelalignError` naming the file and row: an empty file, a NUL byte, no separator, a quote that is opened
    and not closed.
    """
    text = decoded(file)
    separator = _separator(text, file)
    numbered = _rows(text, separator, file)
    lines, rows = [line for line, _ in numbered], [cells for _, cells in numbered]
    first = [cell.strip() for cell in rows[0]]
    if is_header(first, rows[1:_FIRST_LINES]):
        return TextTable(tuple(first), rows[1:], lines[1:], separator)
    width = Counter(map(len, rows)).most_common(1)[0][0]
    return TextTable(tuple(f"column {place + 1}" for place in range(width)), rows, lines, separator)


def fitted(cells: Sequence[str], width: int, free: int, separator: str) -> list[str]:
    """The row with `width` cells at most: empty ones behind are dropped, and what is still too many is put
    together in column `free`, as captions hold commas that nobody quoted.

    >>> fitted(["1.jpg", "a dog", " a cat", "train"], 3, 1, ",")
    ['1.jpg', 'a dog, a cat', 'train']
    """
    cells = list(cells)
    while len(cells) > width and not cells[-1].strip():
        cells.pop()
    behind = max(free + 1 + len(cells) - width, free + 1)
    joined = [*cells[:free], separator.join(cells[free:behind]), *cells[behind:]] if free < len(cells) else cells
    return [cell.strip() for cell in joined]


def decoded(file: Path) -> str:
    """The text of a file in UTF-8, UTF-16 or Windows-1252; one that is not UTF-8 is logged."""
    raw = file.read_bytes()
    marked = next((name for mark, name in _BYTE_ORDER_MARKS.items() if raw.startswith(mark)), None)
    start = raw[:1000]  # UTF-16 without a mark has a zero in every second byte of plain letters
    odd, even = start[1::2].count(0), start[::2].count(0)
    wide = "utf-16-le" if odd > even else "utf-16-be"
    likely = marked or (wide if max(odd, even) > len(start) // 4 else "utf-8")
    for encoding in (likely, "cp1252"):
        try:
            text = raw.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" in text:
            line = text[: text.index("\0")].count("\n") + 1
            raise RelalignError(
                f"{file.name}: row {line} holds a NUL byte, so it is no table of text. Save it as CSV."
            )
        if encoding in _ENCODINGS:
            log.warning("%s: read as %s, as it is not UTF-8", file.name, _ENCODINGS[encoding])
        return text
    raise RelalignError(
        f"{file.name}: is not a readable table: neither UTF-8, UTF-16 nor Windows-1252. Save it as UTF-8."
    )


def _separator(text: str, file: Path) -> str:
    """What stands between the names of a header, or else behind the first image's name of most lines."""
    lines = [line for line in text[: 1 << 20].splitlines()[:_FIRST_LINES] if line.strip()]
    if not lines:
        raise RelalignError(f"{file.name}: is not a readable table: it is empty.")
    if file.suffix.lower() == ".tsv":
        return "\t"
    named = [match for line in lines if (match := _NAME_OF_IMAGE.search(line))]
    behind = Counter(match.string[match.end() :].lstrip(' "')[:1] for match in named)
    for counts in (behind, Counter(lines[0])):
        best = max(SEPARATORS, key=lambda separator: counts[separator])
        if counts[best]:
            return best
    raise RelalignError(
        f"{file.name}: no comma, tab, semicolon or | divides an image from its caption. Save it as CSV with a "
        "header such as image,caption."
    )


def _rows(text: str, separator: str, file: Path) -> list[tuple[int, list[str]]]:
    """Where | divides cells, quotes are letters; with tabs also, if they must
    be."""
    if separator == "|":
        return list(_parsed(text, separator, file, _UNQUOTED))
    try:
        return list(_parsed(text, separator, file, _QUOTED))
    except _OpenQuoteError as error:
        if separator != "\t":
            raise
        log.warning("%s; quotes are taken as they stand", error)
        return list(_parsed(text, separator, file, _UNQUOTED))


class _OpenQuoteError(RelalignError):
    """A quote that swallows rows, or is never closed."""


def _parsed(text: str, separator: str, file: Path, quoting: Literal[0, 3]) -> Iterator[tuple[int, list[str]]]:
    # The default of 131,072 letters would be a hidden limit. It is the process's: others must not find it lower.
    csv.field_size_limit(max(len(text), csv.field_size_limit()))
    parser = csv.reader(StringIO(text, newline=""), delimiter=separator, quoting=quoting, strict=True)
    while True:
        line = parser.line_num + 1
        try:
            cells = next(parser)
        except StopIteration:
            return
        except csv.Error as error:
            raise _open_quote(file, line) from error
        if any(_swallowed(cell, separator) for cell in cells if "\n" in cell):
            raise _open_quote(file, line)
        if any(cell.strip() for cell in cells):
            yield line, cells


def _swallowed(cell: str, separator: str) -> bool:
    """Whether a cell of several lines holds a row: a line of it names an image, and the separator follows."""
    names = (_NAME_OF_IMAGE.search(line) for line in cell.splitlines()[1:])
    return any(match.string[match.end() :].lstrip().startswith(separator) for match in names if match)


def _open_quote(file: Path, line: int) -> _OpenQuoteError:
    return _OpenQuoteError(
        f'{file.name}: in row {line} a quote (") is opened that does not end with the cell. Close it, or write "" '
        "for a quote within a quoted cell"
    )
