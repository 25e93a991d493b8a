"""Decoding every image of a dataset once, on all cores, and remembering what was wrong or special."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from relalign.data.images import BadImageError, decode_image
from relalign.data.near_duplicates import Fingerprint, fingerprint
from relalign.system.parallel import map_on_all_cores


@dataclass(frozen=True)
class CheckedImages:
    """`prints` of the good ones, `bad` ones as name -> error, `conversions` as kind -> names."""

    prints: dict[str, Fingerprint]
    bad: dict[str, BadImageError]
    conversions: dict[str, list[str]]


def check_images(folder: Path, names: Sequence[str], max_pixels: int) -> CheckedImages:
    """Decode each of the named images (paths relative to `folder`) fully (`relalign.data.images.decode_image`)."""
    checked = CheckedImages({}, {}, defaultdict(list))
    work = partial(_check, folder, max_pixels)
    for name, outcome in zip(names, map_on_all_cores(work, names, description="check images"), strict=True):
        if isinstance(outcome, BadImageError):
            checked.bad[name] = outcome
            continue
        checked.prints[name], conversions = outcome
        for kind in conversions:
            checked.conversions[kind].append(name)
    return checked


def _check(folder: Path, max_pixels: int, name: str) -> tuple[Fingerprint, tuple[str, ...]] | BadImageError:
    relative = PurePosixPath(name)
    if relative.is_absolute() or ".." in relative.parts:
        return BadImageError(Path(name), "missing", "its path leads out of the dataset")
    try:
        decoded = decode_image(folder / relative, max_pixels)
    except BadImageError as error:
        return error
    return fingerprint(decoded.pixels), decoded.conversions
