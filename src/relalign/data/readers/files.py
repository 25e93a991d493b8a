"""Finding the files of an unpacked source: captions files by their ending, images by the names a table has."""

import logging
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from relalign.errors import RelalignError

log = logging.getLogger(__name__)

IMAGE_SUFFIXES = frozenset(
    (
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".gif",
        ".webp",
        ".bmp",
        ".tif",
        ".tiff",
        ".ppm",
        ".pgm",
        ".avif",
        ".jp2",
    )
)
_TELL_MISSING = 0.01  # a share of images that are not found, above which the person is told
_COMMENT_NUMBER = re.compile(r"#\d+$")  # Flickr8k.token.txt: `name.jpg#0`


@dataclass(frozen=True)
class FoundImages:
    """Which file each name of a table means, and how many names each rule has found, in the order of the rules."""

    paths: Mapping[str, str]
    rules: Mapping[str, int]


def find_images(names: Iterable[str], folder: Path, *, table: str) -> FoundImages:
    """The image file below `folder` that each name means, by `match_names`; `table` is the names' file.

    Logs by which rules names were found where that is not exactly, and more than 1 % that were not, with examples
    and what lies in the folder. Raises `RelalignError` saying the same if none is found, or a name is ambiguous.
    """
    wanted = list(dict.fromkeys(names))
    tops = sorted(folder.iterdir()) if folder.is_dir() else []
    every = [path for top in tops for path in ([top] if top.is_file() else top.rglob("*"))]
    there = sorted(path.relative_to(folder).as_posix() for path in every if path.is_file())
    found = match_names(wanted, there)
    missing = [name for name in wanted if name not in found.paths]
    counted = ", ".join(f"{number:,} {rule}" for rule, number in found.rules.items())
    if list(found.rules) not in ([], ["exactly"]):
        log.warning("%s: of %s names of images, found %s", table, f"{len(wanted):,}", counted)
    if missing:
        pictures = [path for path in there if PurePosixPath(path).suffix.lower() in IMAGE_SUFFIXES]
        lies = f"holds {len(pictures):,} images, such as {_examples(pictures)}" if pictures else "holds no images"
        counts = f"of {len(wanted):,} names of images, {len(missing):,} are not there"
        told = f"{table}: {counts}, such as {_examples(missing)}"
        if len(missing) == len(wanted):
            raise RelalignError(
                f"{told}. The folder of images {lies}. Mend the names in the table or put the images there; "
                "another column may hold the names (image_column of the dataset, --image-column of relalign init)."
            )
        if len(missing) > _TELL_MISSING * len(wanted):
            log.warning("%s. The folder of images %s", told, lies)
    return found


def match_names(names: Iterable[str], paths: Iterable[str]) -> FoundImages:
    """Match the names of a table with files, by the first rule that finds one.

    Exactly: the file's path ends with the name (archives differ in the folder that they wrap images in). Then
    the name is cleaned (`./a.jpg`, `a\\b.jpg`, `https://host/a.jpg?x`, `/a.jpg`, `a.jpg#0`); then upper and lower
    case are equal; then endings are left out (`a`, `a.png` and `a.jpg`); then all folders of the name. The last
    two count only where they are unmistakable: one file, which no other name means. So `cat/1.jpg` is never
    taken for `dog/1.jpg` where both are named.

    Raises `RelalignError` if several files fit a name by one of the first three.

    >>> match_names(["./images/A.jpg"], ["wrapped/a.jpg"]).paths
    {'./images/A.jpg': 'wrapped/a.jpg'}
    """
    every = [(path, PurePosixPath(path).parts) for path in paths]
    left = {name: name for name in names if PurePosixPath(name).parts}
    found: dict[str, str] = {}
    rules: dict[str, int] = {}
    for rule in _RULES:
        if rule.cleans:
            left = {name: _cleaned(name) for name in left}
        fits = _fits(left, every, rule)
        if not rule.strict:
            _refuse_ambiguous(fits)
        claims = Counter(path for paths in {left[name]: fits[name] for name in left}.values() for path in paths)
        taken = set(found.values())
        new = {
            name: paths[0]
            for name, paths in fits.items()
            if len(paths) == 1 and not (rule.strict and (claims[paths[0]] > 1 or paths[0] in taken))
        }
        found |= new
        rules |= {rule.name: len(new)} if new else {}
        left = {name: clean for name, clean in left.items() if name not in new}
    return FoundImages(found, rules)


def find_captions_file(folder: Path, name: str | None, suffixes: tuple[str, ...]) -> Path:
    """The caption file below `folder`: the one called `name`, or the only one with one of the `suffixes`.

    Raises `RelalignError` listing what is there if none or several fit.
    """
    there = sorted(path for path in folder.rglob("*") if path.is_file())
    found = [path for path in there if (path.name == name if name else path.suffix.lower() in suffixes)]
    if len(found) == 1:
        return found[0]
    wanted = name or " or ".join(f"*{suffix}" for suffix in suffixes)
    raise RelalignError(
        f"{folder}: looked for one caption file {wanted}, found {_examples([p.name for p in found or there], 5)}. "
        "Name it in params.yaml: datasets.<name>.captions_file."
    )


@dataclass(frozen=True)
class _Rule:
    """`key` makes names and paths alike; `strict`: only one name may mean a file."""

    name: str
    key: Callable[[Sequence[str]], tuple[str, ...]]
    cleans: bool = False
    strict: bool = True
    last_part: bool = False


def _same_case(parts: Sequence[str]) -> tuple[str, ...]:
    return tuple(unicodedata.normalize("NFC", part).casefold() for part in parts)


def _without_ending(parts: Sequence[str]) -> tuple[str, ...]:
    *folders, last = _same_case(parts)
    path = PurePosixPath(last)
    return (*folders, path.stem if path.suffix in IMAGE_SUFFIXES else last)


_RULES = (
    _Rule("exactly", tuple, strict=False),
    _Rule("after cleaning the name", tuple, cleans=True, strict=False),
    _Rule("with other upper and lower case", _same_case, strict=False),
    _Rule("with another ending or none", _without_ending),
    _Rule("by the last part of the path", _without_ending, last_part=True),
)


def _fits(
    names: Mapping[str, str], every: Sequence[tuple[str, tuple[str, ...]]], rule: _Rule
) -> dict[str, list[str]]:
    """The files that each name may mean: those whose path ends with it."""
    if not names:
        return {}
    by_last_part: dict[str, list[tuple[str, tuple[str, ...]]]] = defaultdict(list)
    for path, parts in every:
        keyed = rule.key(parts)
        by_last_part[keyed[-1]].append((path, keyed))
    fits = {}
    for name, clean in names.items():
        keyed = rule.key(PurePosixPath(clean).parts[-1:] if rule.last_part else PurePosixPath(clean).parts)
        fits[name] = [path for path, parts in by_last_part.get(keyed[-1], []) if parts[-len(keyed) :] == keyed]
    return fits


def _cleaned(name: str) -> str:
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", name):
        name = unquote(urlsplit(name).path)
    parts = PurePosixPath(_COMMENT_NUMBER.sub("", name.strip()).replace("\\", "/")).parts
    return "/".join(part for part in parts if part not in ("/", ".")) or name


def _refuse_ambiguous(fits: Mapping[str, Sequence[str]]) -> None:
    for name, paths in fits.items():
        if len(paths) > 1:
            raise RelalignError(f"Image {name!r} is ambiguous: {_examples(paths)}. Name its folder too.")


def _examples(texts: Sequence[str], count: int = 3) -> str:
    return ", ".join(texts[:count]) or "nothing"
