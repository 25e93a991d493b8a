"""Caption files in COCO's format: MS-COCO's own (`captions_train2017.json`) and VizWiz-Captions'.

`{"images": [{id, file_name}], "annotations": [{image_id, caption}]}`. Several files are read together, each
giving the split that its name tells; a file alone gives none, and its images are split by their pixels. VizWiz
marks captions as precanned (the picture shows nothing) or rejected (as spam): those are left out, as its own
evaluation does.

X. Chen et al., "Microsoft COCO Captions" (arXiv 1504.00325); D. Gurari et al., "Captioning Images Taken by
People Who Are Blind" (ECCV 2020).
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from relalign.data.readers.files import find_captions_file, find_images
from relalign.data.readers.row import Row, split_in
from relalign.errors import RelalignError
from relalign.settings.dataset import Dataset
from relalign.system.json_text import parse_json

log = logging.getLogger(__name__)

LEFT_OUT = ("is_precanned", "is_rejected")


def prepare(folder: Path, dataset: Dataset) -> None:
    """Nothing to do: the files are read as they come."""


def rows(folder: Path, dataset: Dataset) -> Iterator[Row]:
    """A row an annotation, in the order of the files and of the images in them.

    The files are in source `captions`, or several whose names begin so; images are looked for in all sources.
    Raises `RelalignError` naming the file and the entry that lacks a key.
    """
    files = _files(folder, dataset)
    for file in files:
        names, captions = _read(file)
        described = {number: name for number, name in names.items() if number in captions}
        if not described:
            log.warning("%s: holds no captions, as a test set that is kept secret; it is left out", file.name)
            continue
        found = find_images(described.values(), folder, table=file.name).paths
        split = split_in(file.stem) if len(files) > 1 else None
        for number, name in described.items():
            for place, caption in captions[number]:
                yield Row(found.get(name, name), caption, split, f"{file.name}: annotations[{place}]")


def _files(folder: Path, dataset: Dataset) -> list[Path]:
    places = sorted(folder.glob("captions*"))
    there = [path for place in places for path in sorted(place.rglob("*.json")) if path.is_file()]
    if dataset.captions_file or not there:
        return [find_captions_file(folder, dataset.captions_file, (".json",))]
    # COCO's archive of annotations holds files of boxes and key points too.
    return [path for path in there if path.name.startswith("captions")] or there


def _read(file: Path) -> tuple[dict[Any, str], dict[Any, list[tuple[int, object]]]]:
    """Names of the images by id, and of each image the captions that count, with their places in the file."""
    try:
        content = parse_json(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RelalignError(f"{file}: not a readable json file ({error}). Download it again.") from error
    if not isinstance(content, dict) or not isinstance(content.get("images"), list):
        raise RelalignError(f"{file}: there is no list 'images', so it is not in COCO's format.")
    names = {}
    captions: dict[Any, list[tuple[int, object]]] = defaultdict(list)
    left_out: Counter[str] = Counter()
    where = ""
    try:
        for place, image in enumerate(content["images"]):
            where = f"images[{place}]"
            names[image["id"]] = str(image["file_name"])
        for place, annotation in enumerate(content.get("annotations", [])):
            where = f"annotations[{place}]"
            reason = next((key for key in LEFT_OUT if annotation.get(key)), None)
            if reason is not None:
                left_out[reason.removeprefix("is_")] += 1
            elif annotation["image_id"] not in names:
                raise RelalignError(f"{file}: {where} is of image {annotation['image_id']}, which 'images' lacks.")
            else:
                captions[annotation["image_id"]].append((place, annotation["caption"]))
    except (KeyError, TypeError, AttributeError) as error:
        raise RelalignError(f"{file}: {where} is not as in COCO's caption files: {error!r} is wanted.") from error
    if left_out:
        counts = ", ".join(f"{count:,} {reason}" for reason, count in sorted(left_out.items()))
        log.warning("%s: captions left out: %s", file.name, counts)
    return names, captions
