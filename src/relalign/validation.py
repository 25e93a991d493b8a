"""The validation stage: from a raw dataset to the checked pairs table that everything later reads.

Every image is decoded, every caption is looked at, the splits are proven to share no picture; what is left out is
counted and named in `validation.json`, or stops the stage, as `validate:` in params.yaml says.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from relalign.artifacts import pretty_json, publish, read_manifest
from relalign.caption_checks import BadCaption, check_captions
from relalign.datasets import reader
from relalign.datasets.row import SPLITS, Row
from relalign.disk import full_disk_explained
from relalign.errors import RelalignError
from relalign.image_checks import CheckedImages, check_images
from relalign.near_duplicates import duplicate_groups
from relalign.params import Dataset, Validate
from relalign.splits import Leaks, assign_missing, given_splits, resolve_leaks

log = logging.getLogger(__name__)

PAIRS = "pairs.parquet"
REPORT = "validation.json"
MIN_IMAGES = 2


def validate_dataset(dataset: Dataset, raw: Path, pairs: Path, settings: Validate, *, root: Path) -> None:
    """Check a downloaded dataset and publish `pairs/pairs.parquet` and `pairs/validation.json`.

    A row of the table is a caption: `caption_id` and `image_id` (dense from 0, images in the order of their
    paths, captions in the order of the source within an image), `caption`, `image_path` (relative to `root`,
    with `/`), `split`, and `label`, `language` where the source has them; sorted by `caption_id`.

    Raises `RelalignError` as the policies ask, if `raw` is incomplete, or if a split is left with fewer than two
    images.
    """
    read_manifest(raw)
    rows = list(reader(dataset).rows(raw, dataset))
    splits = given_splits(rows)
    checked = check_images(raw, sorted(splits), settings.max_pixels)
    _apply_image_policy(checked, len(splits), settings.on_bad_image)
    good, bad = check_captions(row for row in rows if row.image in checked.prints)
    _apply_caption_policy(bad, len(rows), settings.on_bad_caption)

    described = sorted({row.image for row in good})
    numbers = duplicate_groups([checked.prints[name] for name in described], settings.near_duplicate_bits)
    groups = dict(zip(described, numbers.tolist(), strict=True))
    final = assign_missing(splits, groups, checked.prints)
    leaks = resolve_leaks(final, groups, settings.on_split_leak)
    _warn_of_leaks(leaks)

    dropped = set(leaks.dropped)
    table = pairs_table([row for row in good if row.image not in dropped], final, raw.relative_to(root).as_posix())
    _check_splits(table, raw)
    report = {
        "images": _image_report(checked, len(splits), set(described)),
        "captions": {
            "seen": len(rows),
            "kept": len(table),
            "of_skipped_images": len(rows) - len(good) - len(bad),
            "skipped": _caption_report(bad),
        },
        "near_duplicates": _duplicate_report(groups, leaks, settings),
        "splits": {
            split: {"images": int(part["image_id"].nunique()), "captions": len(part)}
            for split, part in table.groupby("split")
        },
    }
    inputs = {"raw": raw}
    with (
        full_disk_explained(pairs),
        publish(pairs, made_by="validate", parameters=settings.model_dump(), inputs=inputs) as draft,
    ):
        table.to_parquet(draft / PAIRS, index=False)
        (draft / REPORT).write_text(pretty_json(report), encoding="utf-8")
    log.info("%s: %s", pairs.name, report["splits"])


def pairs_table(rows: Sequence[Row], splits: Mapping[str, str], prefix: str) -> pd.DataFrame:
    """The pairs table of checked rows; `prefix` is the raw folder relative to the project."""
    image_ids = {name: number for number, name in enumerate(sorted({row.image for row in rows}))}
    ordered = sorted(rows, key=lambda row: image_ids[row.image])  # stable: captions keep the source's order
    table = pd.DataFrame(
        {
            "caption_id": pd.Series(range(len(ordered)), dtype="int64"),
            "image_id": pd.Series([image_ids[row.image] for row in ordered], dtype="int64"),
            "caption": [row.caption for row in ordered],
            "image_path": [f"{prefix}/{row.image}" for row in ordered],
            "split": [splits[row.image] for row in ordered],
        }
    )
    for column in ("label", "language"):
        values = [getattr(row, column) for row in ordered]
        if any(value is not None for value in values):
            table[column] = pd.Series(values, dtype="str")
    return table


def _apply_image_policy(checked: CheckedImages, seen: int, policy: str) -> None:
    if not checked.bad:
        return
    reasons = Counter(error.reason for error in checked.bad.values())
    summary = f"{len(checked.bad):,} of {seen:,} images are unusable ({_counts(reasons)})"
    examples = "; ".join(str(error) for error in list(checked.bad.values())[:5])
    if policy == "fail":
        raise RelalignError(f"{summary}: {examples}. Mend them, or set validate.on_bad_image to skip.")
    log.warning("skipped: %s: %s. All are named in %s", summary, examples, REPORT)


def _apply_caption_policy(bad: Sequence[BadCaption], seen: int, policy: str) -> None:
    if not bad:
        return
    summary = f"{len(bad):,} of {seen:,} captions are unusable ({_counts(Counter(item.reason for item in bad))})"
    examples = "; ".join(f"{item.origin} ({item.reason})" for item in bad[:5])
    if policy == "fail":
        raise RelalignError(f"{summary}: {examples}. Mend them, or set validate.on_bad_caption to skip.")
    log.warning("skipped: %s: %s. All are named in %s", summary, examples, REPORT)


def _warn_of_leaks(leaks: Leaks) -> None:
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


def _check_splits(table: pd.DataFrame, raw: Path) -> None:
    images = table.groupby("split")["image_id"].nunique()
    for split in SPLITS:
        if images.get(split, 0) < MIN_IMAGES:
            raise RelalignError(
                f"{raw}: split '{split}' is left with {images.get(split, 0)} images; at least {MIN_IMAGES} are "
                "needed. Add images, or mend the splits."
            )


def _image_report(checked: CheckedImages, seen: int, described: set[str]) -> dict[str, Any]:
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


def _caption_report(bad: Iterable[BadCaption]) -> dict[str, list[dict[str, str]]]:
    skipped: dict[str, list[dict[str, str]]] = defaultdict(list)
    for item in bad:
        skipped[item.reason].append({key: value for key, value in asdict(item).items() if key != "reason"})
    return skipped


def _duplicate_report(groups: Mapping[str, int], leaks: Leaks, settings: Validate) -> dict[str, Any]:
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
