"""The validation stage: from a raw dataset to the checked pairs table that everything later reads.

Every image is decoded, every caption is looked at, the splits are proven to share no picture; what is left out is
counted and named in `validation.json`, or stops the stage, as `validate:` in params.yaml says.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from relalign.data.caption_checks import check_captions
from relalign.data.image_checks import check_images
from relalign.data.near_duplicates import duplicate_groups
from relalign.data.readers import reader
from relalign.data.readers.row import SPLITS, Row
from relalign.data.splits import assign_missing, fill_empty_splits, given_splits, resolve_leaks
from relalign.data.validation_report import (
    REPORT,
    apply_caption_policy,
    apply_image_policy,
    caption_report,
    duplicate_report,
    image_report,
    warn_of_leaks,
)
from relalign.errors import RelalignError
from relalign.settings.dataset import Dataset, Validate
from relalign.system.artifacts import pretty_json, publish, read_manifest
from relalign.system.disk import full_disk_explained

log = logging.getLogger(__name__)

PAIRS = "pairs.parquet"
COCO_COLUMNS = ("coco_image_id", "coco_caption_id", "coco_place")
MIN_IMAGES = 2


def validate_dataset(dataset: Dataset, raw: Path, pairs: Path, settings: Validate, *, root: Path) -> None:
    """Check a downloaded dataset and publish `pairs/pairs.parquet` and `pairs/validation.json`.

    A row of the table is a caption: `caption_id` and `image_id` (dense from 0, images in the order of their
    paths, captions in the order of the source within an image), `caption`, `image_path` (relative to `root`,
    with `/`), `split`, and where the source has them `label`, `language` and `COCO_COLUMNS` (see
    `relalign.data.readers.row`); sorted by `caption_id`.

    Raises `RelalignError` as the policies ask, if `raw` is incomplete, or if a split is left with fewer than two
    images.
    """
    read_manifest(raw, verify=True)
    rows = list(reader(dataset).rows(raw, dataset))
    splits = given_splits(rows)
    checked = check_images(raw, sorted(splits), settings.max_pixels)
    apply_image_policy(checked, len(splits), settings.on_bad_image)
    good, bad = check_captions(
        (row for row in rows if row.image in checked.prints), keep_duplicates=dataset.keep_duplicate_captions
    )
    apply_caption_policy(bad, len(rows), settings.on_bad_caption)

    described = sorted({row.image for row in good})
    numbers = duplicate_groups([checked.prints[name] for name in described], settings.near_duplicate_bits)
    groups = dict(zip(described, numbers.tolist(), strict=True))
    final = fill_empty_splits(assign_missing(splits, groups, checked.prints), groups, checked.prints)
    leaks = resolve_leaks(final, groups, settings.on_split_leak)
    warn_of_leaks(leaks)

    dropped = set(leaks.dropped)
    table = pairs_table([row for row in good if row.image not in dropped], final, raw.relative_to(root).as_posix())
    _check_splits(table, raw)
    report = {
        "images": image_report(checked, len(splits), set(described)),
        "captions": {
            "seen": len(rows),
            "kept": len(table),
            "of_skipped_images": len(rows) - len(good) - len(bad),
            "skipped": caption_report(bad),
        },
        "near_duplicates": duplicate_report(groups, leaks, settings),
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
    if ordered and all(row.coco for row in ordered):
        for place, column in enumerate(COCO_COLUMNS):
            table[column] = pd.Series([row.coco[place] for row in ordered if row.coco], dtype="int64")
    return table


def _check_splits(table: pd.DataFrame, raw: Path) -> None:
    images = table.groupby("split")["image_id"].nunique()
    for split in SPLITS:
        if images.get(split, 0) < MIN_IMAGES:
            raise RelalignError(
                f"{raw}: split '{split}' is left with {images.get(split, 0)} images; at least {MIN_IMAGES} are "
                "needed. Add images, or mend the splits."
            )
