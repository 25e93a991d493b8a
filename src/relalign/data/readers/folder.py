"""Images with their captions beside them: `dog.jpg` and `dog.txt`; also in webdataset's tar files.

`dog.txt` holds a caption a line. `dog.json` may be there in its place, with the captions under one of the names
that `relalign.data.readers.columns` knows. Folders and shards that are called as a split (`train/`,
`val-0003.tar`) give it. Webdataset: <https://github.com/webdataset/webdataset>.
"""

import logging
from collections.abc import Iterator
from pathlib import Path

from relalign.data.extract import extract_archive
from relalign.data.readers.columns import USUAL, plain_name
from relalign.data.readers.delimited import decoded
from relalign.data.readers.files import IMAGE_SUFFIXES
from relalign.data.readers.row import Row, split_in
from relalign.errors import RelalignError
from relalign.settings.dataset import Dataset
from relalign.system.json_text import parse_json

log = logging.getLogger(__name__)

SIDECARS = (".txt", ".json")


def prepare(folder: Path, dataset: Dataset) -> None:
    """Unpack the shards that the source is made of, each into a folder of its own name."""
    for shard in sorted((folder / "images").rglob("*.tar")):
        inside = shard.with_suffix("")
        inside.mkdir()
        extract_archive(shard, inside)
        shard.unlink()


def rows(folder: Path, dataset: Dataset) -> Iterator[Row]:
    """A row a line of each sidecar, in the order of the images' paths.

    Images without one are counted and logged. Raises `RelalignError` if there is no image with captions, or a
    `.json` is none or lacks them.
    """
    root = folder / "images"
    images = [path for path in sorted(root.rglob("*")) if path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES]
    bare = []
    for image in images:
        sidecar = next((file for suffix in SIDECARS if (file := image.with_suffix(suffix)).is_file()), None)
        name = image.relative_to(root)
        if sidecar is None:
            bare.append(name.as_posix())
            continue
        split = next(filter(None, map(split_in, name.parts[:-1])), None)
        where = sidecar.relative_to(root).as_posix()
        for number, caption in enumerate(_captions(sidecar, dataset), start=1):
            yield Row(f"images/{name.as_posix()}", caption, split, f"{where}: row {number}")
    if len(bare) == len(images):
        raise RelalignError(
            f"{root}: holds {len(images)} images, and beside none of them is a .txt or .json with its captions. "
            "Put the captions there, or into one table (reader: table)."
        )
    if bare:
        log.warning("%d of %d images have no captions beside them, such as %s", len(bare), len(images), bare[0])


def _captions(file: Path, dataset: Dataset) -> list[object]:
    if file.suffix == ".txt":
        return [line for line in decoded(file).splitlines() if line.strip()]
    try:
        content = parse_json(decoded(file))
    except ValueError as error:
        raise RelalignError(f"{file}: not a readable json file ({error}). Mend or remove it.") from error
    values = {plain_name(key): value for key, value in content.items()} if isinstance(content, dict) else {}
    usual = USUAL["caption"].split()
    wanted = usual if dataset.caption_column is None else [plain_name(dataset.caption_column)]
    found = next((values[name] for name in wanted if name in values), None)
    if found is None:
        raise RelalignError(
            f"{file}: has no key that is known to hold captions (there are {', '.join(values) or 'none'}). Name "
            "it: caption_column of the dataset in params.yaml."
        )
    return found if isinstance(found, list) else [found]
