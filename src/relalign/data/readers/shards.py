"""Tables that hold the pictures themselves: Parquet as on Hugging Face's hub, and what `datasets` saves to disk.

A picture is `{"bytes": ..., "path": ...}`, or plain bytes. The folder or the file (`train/`,
`test-00000-of-00001.parquet`) tells the split. Once downloaded, pictures become files and captions one table,
which `relalign.data.readers.table` reads.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from relalign.data.readers import table
from relalign.data.readers.columns import choose_columns
from relalign.data.readers.files import IMAGE_SUFFIXES
from relalign.data.readers.row import Row, split_in
from relalign.errors import RelalignError
from relalign.settings.dataset import Dataset

SUFFIXES = (".parquet", ".arrow")
_ROWS_AT_ONCE = 256
_PER_FOLDER = 1000


def prepare(folder: Path, dataset: Dataset) -> None:
    """Put the pictures of source `shards` into `images/`, their captions into `captions/`; the shards are removed.

    Raises `RelalignError` naming the file and row that holds no picture.
    """
    shards = [path for path in sorted((folder / "shards").rglob("*")) if path.suffix.lower() in SUFFIXES]
    if not shards:
        raise RelalignError(f"{folder / 'shards'}: holds no {' or '.join(SUFFIXES)} file.")
    written: list[dict[str, Any]] = []
    for shard in shards:
        split = next(filter(None, map(split_in, (shard.stem, shard.parent.name))), None)
        for number, (image, suffix, row) in enumerate(_pictures(shard, dataset)):
            name = f"{len(written) // _PER_FOLDER:05}/{len(written):08}{suffix}"
            target = folder / "images" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if image is None:
                raise RelalignError(
                    f"{shard}: row {number} holds no picture, only the name of one. Embed the pictures."
                )
            target.write_bytes(image)
            written.append({"image": name, **row, "split": row["split"] or split})
        shard.unlink()
    (folder / "captions").mkdir()
    pd.DataFrame(written).to_parquet(folder / "captions" / "captions.parquet", index=False)


def rows(folder: Path, dataset: Dataset) -> Iterator[Row]:
    """The rows of the table that `prepare` has made."""
    names = dict.fromkeys(("image_column", "caption_column", "split_column"))
    return table.rows(folder, dataset.model_copy(update=names))


def _pictures(shard: Path, dataset: Dataset) -> Iterator[tuple[bytes | None, str, dict[str, Any]]]:
    """The picture, its ending and the other cells of each row."""
    columns = None
    for batch in _batches(shard):
        frame = batch.to_pylist()
        cells = [list(record.values()) for record in frame]
        columns = columns or choose_columns(batch.schema.names, cells, dataset, file=shard.name)
        for row in cells:
            picture = row[columns.image]
            content = picture.get("bytes") if isinstance(picture, dict) else picture
            path = PurePosixPath((picture.get("path") or "") if isinstance(picture, dict) else "")
            suffix = path.suffix.lower() if path.suffix.lower() in IMAGE_SUFFIXES else ".img"
            places = {"split": columns.split, "label": columns.label, "language": columns.language}
            others = {
                key: None if place is None or row[place] is None else str(row[place])
                for key, place in places.items()
            }
            captions = row[columns.caption]
            several = captions if isinstance(captions, list) else [captions]
            yield content if isinstance(content, bytes) else None, suffix, {"caption": several, **others}


def _batches(shard: Path) -> Iterator[pa.RecordBatch]:
    try:
        if shard.suffix.lower() == ".parquet":
            yield from pq.ParquetFile(shard).iter_batches(batch_size=_ROWS_AT_ONCE)
        else:
            with pa.memory_map(str(shard)) as source:
                yield from pa.ipc.open_stream(source)
    except (pa.ArrowException, OSError) as error:
        raise RelalignError(
            f"{shard}: not a readable {shard.suffix} file ({error}). Download it again."
        ) from error
