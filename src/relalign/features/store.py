"""Reading cached features: memory-mapped arrays of one encoder over one dataset, addressed by id.

A store is a published folder (see `relalign.system.artifacts`) of

| file | shape | dtype | holds |
| --- | --- | --- | --- |
| `tokens.npy` | (rows, tokens, width) | float16 | token features; rows shorter than `tokens` end in zeros |
| `lengths.npy` | (rows,) | int32 | how many leading tokens of a row are real, at least 1 |
| `pooled.npy` | (rows, pooled_width) | float32 | the encoder's own vector of a row, the single-modal teacher's |
| `summary.npy` | (rows, summary_width) | float16 | what the towers read of a row (see `encoders.base`) |
| `ids.npy` | (rows,) | int64 | image or caption ids, strictly ascending |
| `inputs.npy` | (rows, 32) | uint8 | sha256 of the image file's or the caption's bytes |

Of an encoder that trains from a cut on, `tokens.npy` holds the activations at the cut: float16, or pixels (uint8)
or token numbers (int32) where all of it trains. Captions then keep all their tokens, and `content.npy` (rows,
tokens) says which are words. Images may have several views, and each then so many rows, one after the other, but
one place in `ids.npy`.

With a corruption the caption is the corrupted one; for an image it is the sha256 of the file's sha256 and the id.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float16, Float32, Int, Int32, Int64, Shaped, UInt8
from numpy.typing import ArrayLike, NDArray

from relalign.errors import RelalignError
from relalign.system.artifacts import read_manifest

_ARRAYS = ("ids", "tokens", "lengths", "pooled", "summary", "inputs")


@dataclass(frozen=True)
class FeatureRows:
    """Some rows of a store, in the order asked for; `tokens[i, lengths[i]:]` is zero."""

    tokens: Shaped[np.ndarray, "n tokens width"]
    lengths: Int32[np.ndarray, " n"]
    pooled: Float32[np.ndarray, "n pooled_width"]
    summary: Float16[np.ndarray, "n summary_width"]


@dataclass(frozen=True)
class FeatureStore:
    """The features of one encoder over one dataset; arrays are memory-mapped and read-only.

    >>> store = FeatureStore.open(Path("data/features/flickr8k/all-minilm-l6-v2"))  # doctest: +SKIP
    >>> store.read(store.rows([7, 3])).pooled.shape  # the vectors of ids 7 and 3  # doctest: +SKIP
    (2, 384)
    """

    folder: Path
    ids: Int64[np.ndarray, " each_once"]
    tokens: Shaped[np.ndarray, "rows tokens width"]
    lengths: Int32[np.ndarray, " rows"]
    pooled: Float32[np.ndarray, "rows pooled_width"]
    summary: Float16[np.ndarray, "rows summary_width"]
    inputs: UInt8[np.ndarray, "rows 32"]
    content: Bool[np.ndarray, "rows tokens"] | None
    train_from: str | None

    @classmethod
    def open(cls, folder: Path, *, expect_ids: ArrayLike | None = None, verify: bool = False) -> "FeatureStore":
        """Open a published store; `verify` also hashes every file.

        Args:
            folder: the store, e.g. `layout.features("all-minilm-l6-v2")`.
            expect_ids: the ids the pairs table has (any order, repeats allowed); a store of other ids is refused.
            verify: compare each file with the manifest's hash (reads everything once).

        Raises:
            RelalignError: missing, truncated or altered files; ids not ascending, or not those expected.
        """
        made = read_manifest(folder, verify=verify).get("parameters") or {}
        train_from = made.get("encoder", {}).get("settings", {}).get("train_from")
        store = cls(folder, **_load(folder), train_from=train_from)
        if not np.all(np.diff(store.ids) > 0):
            raise RelalignError(f"{folder}/ids.npy is not strictly ascending. Delete {folder} and run again.")
        if expect_ids is not None:
            store._check_expected(np.unique(np.asarray(expect_ids, dtype=np.int64)))
        return store

    @property
    def width(self) -> int:
        """The width of a token feature."""
        return int(self.tokens.shape[2])

    @property
    def pooled_width(self) -> int:
        """The width of a pooled vector; differs from `width` in joint models, whose pooled vector is projected."""
        return int(self.pooled.shape[1])

    @property
    def summary_width(self) -> int:
        """The width of a summary."""
        return int(self.summary.shape[1])

    @property
    def views(self) -> int:
        """How many versions of each row there are, one after the other."""
        return len(self.tokens) // max(len(self.ids), 1)

    @property
    def tokens_per_row(self) -> int:
        """The most tokens a row has."""
        return int(self.tokens.shape[1])

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, ids: ArrayLike) -> Int[np.ndarray, " n"]:
        """Where each id stands (its first view). Raises `RelalignError` naming the ids that the store has not.

        With `store.ids == [3, 7, 9]`, `store.rows([9, 3, 3])` is `[2, 0, 0]`.
        """
        wanted = np.asarray(ids, dtype=np.int64)
        found = np.searchsorted(self.ids, wanted)
        present = np.zeros(wanted.shape, dtype=bool)
        inside = found < len(self.ids)
        present[inside] = self.ids[found[inside]] == wanted[inside]
        if not present.all():
            raise RelalignError(
                f"{self.folder} has no features of id {_some(np.unique(wanted[~present]))}. "
                "Run the features stage again."
            )
        return found * self.views

    def read(self, rows: ArrayLike) -> FeatureRows:
        """Copy rows (positions, not ids) into memory, in the order given."""
        positions = np.asarray(rows, dtype=np.int64)
        parts = (self.tokens, self.lengths, self.pooled, self.summary)
        return FeatureRows(*(array[positions] for array in parts))

    def _check_expected(self, expected: Int64[np.ndarray, " n"]) -> None:
        missing = np.setdiff1d(expected, self.ids)
        spare = np.setdiff1d(self.ids, expected)
        for ids, problem in ((missing, "has no features of id"), (spare, "holds features the pairs lack, of id")):
            if len(ids):
                raise RelalignError(f"{self.folder} {problem} {_some(ids)}. Run the features stage again.")


def _load(folder: Path) -> dict[str, Any]:
    try:
        arrays: dict[str, Any] = {name: _mapped(folder, name) for name in _ARRAYS}
        arrays["content"] = _mapped(folder, "content") if (folder / "content.npy").exists() else None
    except (FileNotFoundError, EOFError, ValueError) as error:
        raise RelalignError(f"{folder} is no feature store: {error}. Delete it and run again.") from error
    lengths = {len(array) for name, array in arrays.items() if array is not None and name != "ids"}
    ids = len(arrays["ids"])
    if len(lengths) != 1 or max(lengths) < ids or max(lengths) % max(ids, 1):
        raise RelalignError(f"{folder}: its arrays differ in their number of rows. Delete it and run again.")
    return arrays


def _mapped(folder: Path, name: str) -> NDArray[Any]:
    return np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]


def _some(ids: Int64[np.ndarray, " n"]) -> str:
    shown = ", ".join(map(str, ids[:5].tolist()))
    return shown if len(ids) <= 5 else f"{shown} and {len(ids) - 5} more"
