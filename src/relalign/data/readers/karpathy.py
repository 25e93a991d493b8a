"""Karpathy's caption files: one reader for Flickr8k, Flickr30K and MS-COCO.

`dataset_<name>.json` holds `images: [{filename, split, sentences: [{raw}], filepath?}]`; COCO's `filepath`
(`val2014`) is the folder of the image. Its fourth split `restval` (validation images that the test and
validation splits left over) belongs to train (`SPLIT_WORDS`), as in all published comparisons. Where it has
MS-COCO's ids (`cocoid`, `sentid`), they come along.

A. Karpathy, L. Fei-Fei, "Deep Visual-Semantic Alignments for Generating Image Descriptions", CVPR 2015.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from relalign.data.readers.files import find_captions_file, find_images
from relalign.data.readers.row import CocoIds, Row
from relalign.errors import RelalignError
from relalign.settings.dataset import Dataset
from relalign.system.json_text import parse_json


def prepare(folder: Path, dataset: Dataset) -> None:
    """Nothing to do: the files are read as they come."""


def rows(folder: Path, dataset: Dataset) -> Iterator[Row]:
    """A row a sentence, in the order of the file.

    The json is in source `captions`; images are looked for in all sources. Raises `RelalignError` naming the
    file and the entry that lacks a key.
    """
    captions_folder = folder / "captions"
    file = find_captions_file(captions_folder, dataset.captions_file, (".json",))
    read = []
    for number, entry in enumerate(_entries(file)):
        origin = f"{file.name}: images[{number}]"
        try:
            name = "/".join(filter(None, [entry.get("filepath"), entry["filename"]]))
            sentences = [sentence["raw"] for sentence in entry["sentences"]]
            read.append((origin, name, str(entry["split"]), sentences, _coco_ids(entry, number)))
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise RelalignError(f"{origin} is not as in Karpathy's files: {error!r} is wanted.") from error
    found = find_images((name for _, name, *_ in read), folder, table=file.name).paths
    for origin, name, split, sentences, coco in read:
        for place, sentence in enumerate(sentences):
            where = f"{origin}.sentences[{place}]"
            yield Row(found.get(name, name), sentence, split, where, coco=coco[place] if coco else None)


def _coco_ids(entry: dict[str, Any], number: int) -> list[CocoIds]:
    if "cocoid" not in entry:
        return []
    return [CocoIds(int(entry["cocoid"]), int(sentence["sentid"]), number) for sentence in entry["sentences"]]


def _entries(file: Path) -> list[Any]:
    try:
        content = parse_json(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RelalignError(f"{file}: not a readable json file ({error}). Download it again.") from error
    entries = content.get("images") if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise RelalignError(f"{file}: there is no list 'images', so it is not one of Karpathy's files.")
    return entries
