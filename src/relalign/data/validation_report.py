"""What validation says about what it skipped: warnings with numbers, errors with a cure, and validation.json."""

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from relalign.data.caption_checks import BadCaption
from relalign.data.image_checks import CheckedImages
from relalign.data.splits import Leaks
from relalign.errors import RelalignError
from relalign.settings.dataset import Validate

log = logging.getLogger(__name__)

REPORT = "validation.json"


def apply_image_policy(checked: CheckedImages, seen: int, policy: str) -> None:
    """Warn of unusable images, or raise `RelalignError` if the policy is `fail`."""
    if not checked.bad:
        return
    reasons = Counter(error.reason for error in checked.bad.values())
    summary = f"{len(checked.bad):,} of {seen:,} images are unusable ({_counts(reasons)})"
    examples = "; ".join(str(error) for error in list(checked.bad.values())[:5])
    if policy == "fail":
        raise RelalignError(f"{summary}: {examples}. Mend them, or set validate.on_bad_image to skip.")
    log.warning("skipped: %s: %s. All are named in %s", summary, examples, REPORT)


def apply_caption_policy(bad: Sequence[BadCaption], seen: int, policy: str) -> None:
    """Warn of unusable captions, or raise `RelalignError` if the policy is `fail`."""
    if not bad:
        return
    summary = f"{len(bad):,} of {seen:,} captions are unusable ({_counts(Counter(item.reason for item in bad))})"
    examples = "; ".join(f"{item.origin} ({item.reason})" for item in bad[:5])
    if policy == "fail":
        raise RelalignError(f"{summary}: {examples}. Mend them, or set validate.on_bad_caption to skip.")
    log.warning("skipped: %s: %s. All are named in %s", summary, examples, REPORT)


def warn_of_leaks(leaks: Leaks) -> None:
    """Say how many near-duplicate groups reached over splits, and what was or was not done about it."""
    if leaks.found:
        log.warning(
            "%d near-duplicate groups reach over splits; dropped %d images: %s. All are named in %s",
            len(leaks.found),
            len(leaks.dropped),
            ", ".join(leaks.dropped[:5]),
            REPORT,
        )
    if leaks.left:
        log.warning(
            "%d near-duplicate groups still join val and test; validate.on_split_leak: drop_from_train_and_val "
            "removes them from val",
            len(leaks.left),
        )


def image_report(checked: CheckedImages, seen: int, described: set[str]) -> dict[str, Any]:
    """How many images were seen and are usable; the skipped ones by reason, the converted ones by kind."""
    skipped: dict[str, list[str]] = defaultdict(list)
    for name, error in checked.bad.items():
        skipped[error.reason].append(name)
    skipped["no caption left"] = sorted(set(checked.prints) - described)
    return {
        "seen": seen,
        "usable": len(described),
        "skipped": {reason: names for reason, names in skipped.items() if names},
        "converted": {kind: sorted(names) for kind, names in checked.conversions.items()},
    }


def caption_report(bad: Iterable[BadCaption]) -> dict[str, list[dict[str, str]]]:
    """The skipped captions by reason."""
    skipped: dict[str, list[dict[str, str]]] = defaultdict(list)
    for item in bad:
        skipped[item.reason].append({key: value for key, value in asdict(item).items() if key != "reason"})
    return skipped


def duplicate_report(groups: Mapping[str, int], leaks: Leaks, settings: Validate) -> dict[str, Any]:
    """Near-duplicate groups in all, and those over splits with what was dropped."""
    sizes = Counter(groups.values())
    return {
        "groups": sum(size > 1 for size in sizes.values()),
        "images_in_groups": sum(size for size in sizes.values() if size > 1),
        "policy": settings.on_split_leak,
        "over_splits": leaks.found,
        "dropped": leaks.dropped,
        "over_val_and_test_left": leaks.left,
        "splits_are_disjoint": not leaks.left,
    }


def _counts(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{number:,} {reason}" for reason, number in sorted(reasons.items()))
