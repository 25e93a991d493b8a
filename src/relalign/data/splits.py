"""Splits that share no picture: every image gets one; near-duplicates across splits are resolved on purpose."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from relalign.data.near_duplicates import Fingerprint
from relalign.data.readers.row import SPLIT_WORDS, Row, share_of, split_of
from relalign.errors import RelalignError

log = logging.getLogger(__name__)

_VALIDATION_SHARE = 1 / 8  # of train, where the source has no val: 10 % of all, as of a dataset without splits
_DROPPED_FROM: dict[str, tuple[str, ...]] = {
    "drop_from_train": ("train",),
    "drop_from_train_and_val": ("train", "val"),
}


@dataclass(frozen=True)
class Leaks:
    """Near-duplicate groups that reached over splits: all of them, what was dropped, and what still does."""

    found: list[dict[str, str]]
    dropped: list[str]
    left: list[dict[str, str]]


def given_splits(rows: Iterable[Row]) -> dict[str, str | None]:
    """The split that the source gives each image, None where it gives none.

    Usual words for the three are understood (`SPLIT_WORDS`), whatever their case, and logged. Raises
    `RelalignError` for an unknown word, or an image that stands in two splits (its captions disagree).
    """
    splits: dict[str, str | None] = {}
    words: dict[str, str] = {}
    for row in rows:
        split = None
        if row.split is not None:
            split = words.get(row.split) or SPLIT_WORDS.get(row.split.strip().casefold())
            if split is None:
                known_words = ", ".join(SPLIT_WORDS)
                raise RelalignError(f"{row.origin}: split {row.split!r} is none of {known_words}.")
            words[row.split] = split
        known = splits.setdefault(row.image, split)
        if known != split:
            raise RelalignError(
                f"{row.origin}: image {row.image} is in split {split or '(none)'} here and in "
                f"{known or '(none)'} before. Give all captions of an image the same split."
            )
    if renamed := [f"{word} is {split}" for word, split in words.items() if word != split]:
        log.info("splits: %s", ", ".join(renamed))
    return splits


def assign_missing(
    splits: Mapping[str, str | None], groups: Mapping[str, int], prints: Mapping[str, Fingerprint]
) -> dict[str, str]:
    """Give images without a split one from their pixels, the same for a whole near-duplicate group.

    The draw is from the smallest pixel hash of the group, so neither file names nor the order of files matter.
    """
    smallest = _smallest(groups, prints)
    return {name: splits[name] or split_of(smallest[group]) for name, group in groups.items()}


def fill_empty_splits(
    splits: Mapping[str, str], groups: Mapping[str, int], prints: Mapping[str, Fingerprint]
) -> dict[str, str]:
    """Make the split that a source lacks of another, and log it.

    Without test, as benchmarks come that keep its captions to themselves, val is the test split. Without val then,
    an eighth of train is: whole near-duplicate groups, drawn from their pixels.
    """
    filled = dict(splits)
    if "val" in filled.values() and "test" not in filled.values():
        log.warning("no image is in split test: those in val are the test split")
        filled = {name: "test" if split == "val" else split for name, split in filled.items()}
    if "train" in filled.values() and "val" not in filled.values():
        log.warning("no image is in split val: an eighth of those in train are")
        smallest = _smallest(groups, prints)
        for name, split in splits.items():
            if split == "train" and share_of(smallest[groups[name]]) < _VALIDATION_SHARE:
                filled[name] = "val"
    return filled


def _smallest(groups: Mapping[str, int], prints: Mapping[str, Fingerprint]) -> dict[int, str]:
    """The smallest pixel hash of each group."""
    smallest: dict[int, str] = {}
    for name, group in groups.items():
        smallest[group] = min(smallest.get(group, prints[name].pixels), prints[name].pixels)
    return smallest


def resolve_leaks(splits: Mapping[str, str], groups: Mapping[str, int], policy: str) -> Leaks:
    """Find near-duplicate groups with images in several splits, and say which images to drop.

    `drop_from_train` drops the group's train images when it has others; what then still joins val and test stays
    as it is (published test sets are not altered) and is reported in `left`. `drop_from_train_and_val` also drops
    the val images of groups that reach into test, so nothing is left. `fail` raises `RelalignError`.
    """
    members: dict[int, dict[str, str]] = defaultdict(dict)
    for name in sorted(groups):
        members[groups[name]][name] = splits[name]
    found = [group for group in members.values() if len(set(group.values())) > 1]
    if found and policy == "fail":
        raise RelalignError(
            f"{len(found)} near-duplicate groups reach over splits, for example {_describe(found[0])}. "
            "Mend the splits, or set validate.on_split_leak to drop_from_train."
        )
    dropped: list[str] = []
    left = []
    for group in found:
        out, remaining = _drop(group, _DROPPED_FROM[policy])
        dropped += out
        if len(set(remaining.values())) > 1:
            left.append(remaining)
    return Leaks(found, sorted(dropped), left)


def _drop(group: Mapping[str, str], splits: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    dropped: list[str] = []
    remaining = dict(group)
    for split in splits:
        if len(set(remaining.values())) > 1:
            dropped += [name for name, its in remaining.items() if its == split]
            remaining = {name: its for name, its in remaining.items() if its != split}
    return dropped, remaining


def _describe(group: Mapping[str, str]) -> str:
    return ", ".join(f"{name} ({split})" for name, split in list(group.items())[:4])
