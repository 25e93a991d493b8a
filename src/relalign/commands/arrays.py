"""Reading and checking the arrays and texts that a user names on the command line."""

import logging
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from jaxtyping import Float32, Int64
from numpy.typing import NDArray

from relalign.errors import RelalignError
from relalign.retrieval.embeddings import Embeddings

log = logging.getLogger(__name__)

MIN_ROWS = 2


def read_array(path: Path) -> NDArray[np.generic]:
    """An array of numbers from `.npy`, `.npz`, `.safetensors`, `.pt` (tensors alone, nothing is unpickled) or a
    column of a Parquet file; `file#name` names one of several in it.

    Raises `RelalignError` naming the file: missing, of no such kind, or holding several without a name.
    """
    file, name = (path, "") if path.exists() else _divided(path)
    if not file.is_file():
        raise RelalignError(f"{file} does not exist.")
    reader = _READERS.get(file.suffix.lower())
    if reader is None:
        kinds = ", ".join(_READERS)
        raise RelalignError(f"{file} is no file of arrays that is known here ({kinds}). Save it with numpy.save.")
    try:
        arrays = reader(file)
        if name and name not in arrays:
            raise RelalignError(f"{file} holds no array '{name}', but {', '.join(arrays)}.")
        if not name and len(arrays) != 1:
            example = f"{file.name}#{next(iter(arrays), 'name')}"
            raise RelalignError(f"{file} holds {len(arrays)} arrays ({', '.join(arrays)}). Name one: {example}.")
        return arrays[name or next(iter(arrays))]()
    except RelalignError:
        raise
    except Exception as error:  # each library raises its own kinds for damaged files
        reason = (str(error) or type(error).__name__).splitlines()[0][:200]
        if "pickle" in reason:  # nobody shall be told to load it all the same
            reason = "it holds something other than numbers"
        raise RelalignError(
            f"{file} is no readable {file.suffix} file of numbers ({reason}). Save it anew."
        ) from None


Arrays = Mapping[str, Callable[[], NDArray[np.generic]]]


def _divided(path: Path) -> tuple[Path, str]:
    file, mark, name = str(path).rpartition("#")
    return (Path(file), name) if mark else (path, "")


def _npy(file: Path) -> Arrays:
    array = np.load(file, mmap_mode="r", allow_pickle=False)
    if not isinstance(array, np.ndarray):
        raise RelalignError(f"{file} is not what its ending says. Save it with numpy.save.")
    return {"array": lambda: array}


def _npz(file: Path) -> Arrays:
    packed = np.load(file, allow_pickle=False)
    return {name: partial(packed.__getitem__, name) for name in packed.files}


def _safetensors(file: Path) -> Arrays:
    from safetensors.torch import load_file

    return {name: partial(_numbers, tensor) for name, tensor in load_file(file).items()}


def _torch(file: Path) -> Arrays:
    content = torch.load(file, map_location="cpu", weights_only=True)
    named = content if isinstance(content, Mapping) else {"tensor": content}
    return {
        str(name): partial(_numbers, value) for name, value in named.items() if isinstance(value, torch.Tensor)
    }


def _parquet(file: Path) -> Arrays:
    columns = pq.read_schema(file).names
    return {name: partial(_column, file, name) for name in columns}


def _column(file: Path, name: str) -> NDArray[np.generic]:
    values = pq.read_table(file, columns=[name]).column(name).to_numpy()
    return np.stack([*values]) if values.dtype == object else np.asarray(values)


def _numbers(tensor: torch.Tensor) -> NDArray[np.generic]:
    """As numpy holds it, which has no bfloat16."""
    return np.asarray((tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy(force=True))


_READERS: dict[str, Callable[[Path], Arrays]] = {
    ".npy": _npy,
    ".npz": _npz,
    ".safetensors": _safetensors,
    ".pt": _torch,
    ".pth": _torch,
    ".parquet": _parquet,
}


def read_vectors(path: Path) -> Float32[NDArray[np.float32], "row width"]:
    """A matrix of floating-point rows, as float32."""
    array = read_array(path)
    if array.ndim != 2 or not np.issubdtype(array.dtype, np.floating):
        raise RelalignError(
            f"{path} is an array of {array.dtype} of shape {array.shape}; "
            "a matrix of floating-point rows is wanted."
        )
    return np.ascontiguousarray(array, dtype=np.float32)


def read_integers(path: Path, rows: int, meaning: str) -> Int64[NDArray[np.int64], " row"]:
    """A list of `rows` integers; `meaning` says in errors what the rows are."""
    array = read_array(path)
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
        raise RelalignError(
            f"{path} is an array of {array.dtype} of shape {array.shape}; one of integers is wanted."
        )
    if len(array) != rows:
        raise RelalignError(f"{path} has {len(array)} entries, but there are {rows} {meaning}.")
    return array.astype(np.int64)


def read_lines(path: Path, rows: int) -> list[str]:
    """A text file of `rows` lines in UTF-8, one a caption."""
    try:
        # Not splitlines, which also cuts at characters that may stand within a caption.
        lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except FileNotFoundError:
        raise RelalignError(f"{path} does not exist.") from None
    except UnicodeDecodeError as error:
        raise RelalignError(f"{path} is not UTF-8 text: {error}.") from None
    if len(lines) != rows:
        raise RelalignError(f"{path} has {len(lines)} lines, but there are {rows} captions.")
    return lines


def read_embeddings(
    image: Path, text: Path, pairs: Path, image_ids: Path | None, text_ids: Path | None, *, merge: bool = False
) -> tuple[Embeddings, Int64[NDArray[np.int64], " image"], Int64[NDArray[np.int64], " caption"]]:
    """The embeddings in ascending order of ids, and that order of the files' image rows and caption rows.

    `pairs` holds the image of each caption: its id where `image_ids` is given, else its row. Ids default to row
    numbers. With `merge`, equal rows of `image` are one image, as some tools repeat it once a caption; without
    it they are logged. Raises `RelalignError` naming the file whose shape, type or ids do not fit.
    """
    images, texts = read_vectors(image), read_vectors(text)
    if images.shape[1] != texts.shape[1]:
        raise RelalignError(
            f"{image} has {images.shape[1]} columns and {text} has {texts.shape[1]}; both must lie in one space."
        )
    ids = [
        np.arange(len(rows), dtype=np.int64)
        if path is None
        else _unique(path, read_integers(path, len(rows), what))
        for path, rows, what in ((image_ids, images, "images"), (text_ids, texts, "captions"))
    ]
    owner = read_integers(pairs, len(texts), "captions")
    if unknown := np.setdiff1d(owner, ids[0]).tolist():
        kind = "rows" if image_ids is None else "ids"
        raise RelalignError(
            f"{pairs} names {len(unknown)} images that there are none of, such as {kind} {unknown[:5]}."
        )
    if min(len(images), len(texts)) < MIN_ROWS:
        raise RelalignError(f"{image} and {text}: there is nothing to retrieve from fewer than {MIN_ROWS} rows.")
    # Equal rows of bytes are equal images; first occurrences stand for them.
    _, first, same = np.unique(
        images.view(f"V{images.itemsize * images.shape[1]}"), return_index=True, return_inverse=True
    )
    if len(first) < len(images) and not merge:
        log.warning(
            "%s: of %d rows only %d are different. Equal images compete with each other, so recall is too low. If "
            "each image is repeated once a caption, as some tools write it, add --merge-equal-images",
            *(image, len(images), len(first)),
        )
    kept = np.arange(len(images))
    if merge:
        by_id = np.argsort(ids[0])
        rows = by_id[np.searchsorted(ids[0], owner, sorter=by_id)]
        kept, owner = first, ids[0][first][same.ravel()[rows]]
    orders = kept[np.argsort(ids[0][kept])], np.argsort(ids[1])
    embeddings = Embeddings(
        images[orders[0]], texts[orders[1]], ids[0][orders[0]], ids[1][orders[1]], owner[orders[1]]
    )
    return embeddings, *orders


def _unique(path: Path, ids: Int64[NDArray[np.int64], " row"]) -> Int64[NDArray[np.int64], " row"]:
    values, counts = np.unique(ids, return_counts=True)
    if (counts > 1).any():
        raise RelalignError(f"{path}: ids stand twice, such as {values[counts > 1][:5].tolist()}.")
    return ids
