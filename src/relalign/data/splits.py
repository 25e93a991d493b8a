"""Splits that share no picture: every image gets one; near-duplicates across splits are resolved on purpose."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from relalign.data.near_duplicates import Fingerprint
from relalign.data.readers.row import SPLITS, Row, split_of
from relalign.errors import RelalignError

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

    Raises `RelalignError` for an unknown split, or an image that stands in two (its captions disagree).
    """
    splits: dict[str, str | None] = {}
    for row in rows:
        if row.split is not None and row.split not in SPLITS:
            raise RelalignError(f"{row.origin}: split {row.split!r} is none of {', '.join(SPLITS)}.")
        known = splits.setdefault(row.image, row.split)
        if known != row.split:
            raise RelalignError(
                f"{row.origin}: image {row.image} is in split {row.split or '(none)'} here and in "
                f"{known or '(none)'} before. Give all captions of an image the same split."
            )
    return splits


def assign_missing(
    splits: Mapping[str, str | None], groups: Mapping[str, int], prints: Mapping[str, Fingerprint]
) -> dict[str, str]:
    """Give images without a split one from their pixels, the same for a whole near-duplicate group.

    The draw is from the smallest pixel hash of the group, so neither file names nor the order of files matter.
    """
    smallest: dict[int, str] = {}
    for name, group in groups.items():
        smallest[group] = min(smallest.get(group, prints[name].pixels), prints[name].pixels)
    return {name: splits[name] or split_of(smallest[group]) for name, group in groups.items()}


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
