"""Reading and checking the arrays and texts that a user names on the command line."""

from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64
from numpy.typing import NDArray

from relalign.errors import RelalignError
from relalign.retrieval.embeddings import Embeddings


def read_array(path: Path) -> NDArray[np.generic]:
    """A `.npy` file without pickled objects, memory-mapped; `RelalignError` if it is missing or something else."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise RelalignError(f"{path} does not exist.") from None
    except (ValueError, EOFError, OSError) as error:
        raise RelalignError(f"{path} is no array file of numbers (.npy): {error}") from None
    if not isinstance(array, np.ndarray):
        raise RelalignError(f"{path} holds several arrays (.npz); give one .npy file an array.")
    return array


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
    image: Path, text: Path, pairs: Path, image_ids: Path | None, text_ids: Path | None
) -> tuple[Embeddings, Int64[NDArray[np.int64], " image"], Int64[NDArray[np.int64], " caption"]]:
    """The embeddings in ascending order of ids, and that order of the files' image rows and caption rows.

    `pairs` holds the image of each caption: its id where `image_ids` is given, else its row. Ids default to row
    numbers. Raises `RelalignError` naming the file whose shape, type or ids do not fit.
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
    orders = [np.argsort(side) for side in ids]
    embeddings = Embeddings(
        images[orders[0]], texts[orders[1]], ids[0][orders[0]], ids[1][orders[1]], owner[orders[1]]
    )
    return embeddings, orders[0], orders[1]


def _unique(path: Path, ids: Int64[NDArray[np.int64], " row"]) -> Int64[NDArray[np.int64], " row"]:
    values, counts = np.unique(ids, return_counts=True)
    if (counts > 1).any():
        raise RelalignError(f"{path}: ids stand twice, such as {values[counts > 1][:5].tolist()}.")
    return ids
