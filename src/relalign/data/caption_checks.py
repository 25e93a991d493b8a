"""What makes a caption usable, and what is said about one that is not."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from relalign.data.readers.row import Row

_NO_LETTERS = re.compile("[\x00-\x1f\x7f-\x9f\ufffe\uffff]")  # controls, which no page or picture can hold
MOST_LETTERS = 10_000  # many times the longest caption of any published dataset


@dataclass(frozen=True)
class BadCaption:
    """A caption that is left out: where it stands, of which image, and why."""

    origin: str
    image: str
    reason: str


def check_captions(rows: Iterable[Row], *, keep_duplicates: bool = False) -> tuple[list[Row], list[BadCaption]]:
    """Split rows into usable ones, in their order, and refused ones.

    Control characters are white space, which is trimmed and collapsed. Refused are a caption that is no text
    (`not text`), one that holds nothing but white space (`empty`), one of more than `MOST_LETTERS` letters (`too
    long`), and one that the same image already has (`duplicate`; the first stays), unless `keep_duplicates`:
    published benchmarks count theirs.
    """
    good: list[Row] = []
    bad: list[BadCaption] = []
    seen: set[tuple[str, str]] = set()
    for row in rows:
        text = _normal(row.caption)
        reason = _reason(text)
        if reason is None and (row.image, text) in seen and not keep_duplicates:
            reason = "duplicate"
        if reason or text is None:
            bad.append(BadCaption(row.origin, row.image, reason or "not text"))
            continue
        seen.add((row.image, text))
        good.append(replace(row, caption=text))
    return good, bad


def _reason(text: str | None) -> str | None:
    if text is None:
        return "not text"
    return "empty" if not text else "too long" if len(text) > MOST_LETTERS else None


def _normal(caption: object) -> str | None:
    if not isinstance(caption, str):
        return None
    try:
        caption.encode()  # a lone surrogate, as broken json can hold, has no UTF-8 form
    except UnicodeEncodeError:
        return None
    return " ".join(_NO_LETTERS.sub(" ", caption).split())
