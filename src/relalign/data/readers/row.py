"""What every reader yields, and how a dataset without an official split gets one."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

from relalign.settings.dataset import Dataset

SPLITS = ("train", "val", "test")
SPLIT_WORDS = {
    **dict.fromkeys(("train", "training", "restval"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "development"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""What people call the three; `restval` is Karpathy's for what the others left over."""


def split_in(name: str) -> str | None:
    """The split that the name of a file or folder tells, if one of its words does.

    >>> split_in("captions_train2017"), split_in("latest")
    ('train', None)
    """
    return next((SPLIT_WORDS[word] for word in re.findall("[a-z]+", name.casefold()) if word in SPLIT_WORDS), None)


class CocoIds(NamedTuple):
    """MS-COCO's own ids, by which published judgements name its images and captions, and the image's place.

    `place` is the image's place in Karpathy's file, which cuts COCO 1K's five folds.
    """

    image: int
    caption: int
    place: int


@dataclass(frozen=True)
class Row:
    """One caption of one image, as the source gives it: `caption` may be anything, `image` may be missing.

    `image` is a path relative to the raw folder; `split` None asks for one from the image's content; `origin`
    says where the row stands, for messages.
    """

    image: str
    caption: object
    split: str | None
    origin: str
    label: str | None = None
    language: str | None = None
    coco: CocoIds | None = None


@runtime_checkable
class Reader(Protocol):
    """What a module of this package offers."""

    def prepare(self, folder: Path, dataset: Dataset) -> None:
        """Put the unpacked sources in `folder` (one sub-folder a source) into the form `rows` reads."""

    def rows(self, folder: Path, dataset: Dataset) -> Iterator[Row]:
        """Every caption of the dataset, those of one image together or not."""


def split_of(key: str) -> str:
    """A split drawn from the key's own hash: 70 % train, 10 % val, 20 % test, the same on every machine.

    >>> [split_of(key) for key in ("cat", "cow", "dog")]
    ['train', 'val', 'test']
    """
    draw = share_of(key)
    return "train" if draw < 0.7 else "val" if draw < 0.8 else "test"


def share_of(key: str) -> float:
    """A number from 0 to 1 drawn from the key's own hash, the same on every machine."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]) / 2**64
