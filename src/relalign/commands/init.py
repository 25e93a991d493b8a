"""`relalign init FOLDER_OR_FILE`: look at a person's data, say what was found, write the dataset's entry."""

import argparse
import re
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from relalign.data.readers import reader
from relalign.data.readers.row import Row
from relalign.data.recognise import recognise
from relalign.data.splits import given_splits
from relalign.errors import RelalignError
from relalign.settings import load_params
from relalign.settings.dataset import Dataset, local_path
from relalign.system.artifacts import write_atomic

_FEW_IMAGES = 2000  # below it one draw of a val split says little: each seed draws its own
_MANY_IMAGES = 4000  # above it the sections `backbone` and `training` of the shipped params.yaml are too small


def run(options: argparse.Namespace) -> None:
    """Recognise the data, read every row of it once, and add it to params.yaml as the dataset that is used.

    Nothing is copied or changed but params.yaml, and that only once all is well. Raises `RelalignError` if the
    data cannot be read, or the name is taken by other data.
    """
    root = options.params.resolve().parent
    load_params(options.params)
    dataset, said = recognise(options.path, root, images=options.images)
    columns = {f"{role}_column": getattr(options, f"{role}_column") for role in ("image", "caption", "split")}
    dataset = dataset.model_copy(update=columns)
    name = options.name or _plain(options.path.resolve().stem)
    sys.stdout.write(f"{options.path}: {said}\n")
    read = _read(dataset, root)
    if read is None:
        sys.stdout.write("They are unpacked and read by the pipeline.\n")
        images = None
    else:
        rows, missing = read
        if not rows:
            raise RelalignError(f"{options.path}: holds no captions.")
        splits = given_splits(rows)
        images = len(splits)
        if images < _FEW_IMAGES and "val" not in splits.values():
            dataset = dataset.model_copy(update={"rotate_validation": True})
        sys.stdout.write(_found(rows, splits, missing))
    _write(options.params, name, dataset)
    sys.stdout.write(f"{options.params}: '{name}' is the dataset now. Next: make reproduce\n")
    if images is not None and images > _MANY_IMAGES:
        sys.stdout.write(
            f"For {images:,} images take the sections backbone and training out of {options.params}: they are for "
            "about a thousand, and the defaults for more.\n"
        )


def _read(dataset: Dataset, root: Path) -> tuple[list[Row], int] | None:
    """The rows of images that are there, read where the files lie, and how many images are not; None where they
    must be unpacked first."""
    paths = {name: local_path(source.url) for name, source in dataset.sources.items()}
    sources = {name: root / path for name, path in paths.items() if path is not None}
    if dataset.reader == "shards" or any(
        path.is_file() for name, path in sources.items() if not name.startswith("captions")
    ):
        return None
    if dataset.reader == "folder" and any(sources["images"].rglob("*.tar")):
        return None
    with tempfile.TemporaryDirectory() as place:
        for name, path in sources.items():
            target = Path(place) / name
            if path.is_file():
                target.mkdir()
                target = target / path.name
            target.symlink_to(path.resolve())
        rows = list(reader(dataset).rows(Path(place), dataset))
        there = {image for image in {row.image for row in rows} if (Path(place) / image).is_file()}
    return [row for row in rows if row.image in there], len({row.image for row in rows} - there)


def _found(rows: list[Row], splits: dict[str, str | None], missing: int) -> str:
    absent = f"; {missing:,} images that are named are not there and will be left out" if missing else ""
    lines = [f"{len(splits):,} images with {len(rows):,} captions{absent}"]
    counted = Counter(splits.values())
    if set(counted) == {None}:
        lines.append("no splits: 70 % train, 10 % val and 20 % test are drawn by the images' pixels")
    else:
        lines.append("splits: " + ", ".join(f"{count:,} images {split}" for split, count in counted.items()))
    languages = Counter(row.language for row in rows if row.language)
    if languages:
        lines.append("languages: " + ", ".join(f"{count:,} captions {name}" for name, count in languages.items()))
    first = rows[0]
    lines.append(f"for example: {first.image.removeprefix('images/')}: {first.caption}")
    return "".join(f"  {line}\n" for line in lines)


def _write(params: Path, name: str, dataset: Dataset) -> None:
    """Add the entry to the text of params.yaml, so that comments and order stay, and use it; checked, then
    written."""
    text = params.read_text(encoding="utf-8")
    entry = dataset.model_dump(mode="json", exclude_defaults=True)
    there: Any = yaml.safe_load(text)["datasets"]
    if name in there and there[name] != entry:
        raise RelalignError(f"{params}: there is a dataset '{name}' already. Choose another name: --name NAME.")
    if name not in there:
        block = yaml.safe_dump({name: entry}, sort_keys=False, allow_unicode=True, width=1000)
        indented = "".join(f"  {line}\n" for line in block.splitlines())
        text, added = re.subn(r"(?m)^datasets:[ \t]*(#.*)?\n", lambda match: match[0] + indented, text, count=1)
        if not added:
            raise RelalignError(
                f"{params}: there is no line 'datasets:' to write below. Add this there:\n{indented}"
            )
    text = re.sub(
        r"(?m)^(dataset:[ \t]*[^\s#]+)([ \t]*)(?=#|$)",
        lambda match: f"dataset: {name}".ljust(len(match[0]) - 1) + " " * bool(match[2]),
        text,
        count=1,
    )
    with tempfile.TemporaryDirectory() as place:
        draft = Path(place) / params.name
        draft.write_text(text, encoding="utf-8")
        load_params(draft)
    write_atomic(params, text)


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.casefold()).strip("-") or "own"
