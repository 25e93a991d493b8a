"""The feature store in the making: survives being killed at any moment, and lends its rows to its successor.

It is a hidden folder beside the published store (`.<encoder>.work`), because workflow tools delete a published
output before they make it again. Files: the store's arrays, `done.npy` (which rows are complete; written to disk
after the rows themselves), `key.json`, and, once all is done, `sha256.json`.
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relalign.features.inputs import EncodedRows, Inputs, Shape
from relalign.system.artifacts import new_draft, pretty_json, read_manifest, sha256_file, write_atomic
from relalign.system.disk import allocate

ROWS = ("tokens", "lengths", "pooled", "summary")
CONTENT = "content"  # an array of captions that keep all their tokens
_COPY_ROWS = 4096


class FeatureDraft:
    """Arrays on disk that are filled row by row; `todo` are the rows still to be computed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key: dict[str, str] = json.loads((folder / "key.json").read_text())
        self.done: NDArray[np.bool_] = self._open("done")
        self.rows = (*ROWS, *((CONTENT,) if (folder / f"{CONTENT}.npy").exists() else ()))
        self._arrays: dict[str, NDArray[Any]] = {name: self._open(name) for name in (*self.rows, "ids", "inputs")}
        self._fresh: list[NDArray[np.int64]] = []

    def _open(self, name: str) -> NDArray[Any]:
        path = self.folder / f"{name}.npy"
        # A cache that shares a published file may have made it read-only.
        writable = os.access(path, os.W_OK)
        return np.load(path, mmap_mode="r+" if writable else "r", allow_pickle=False)  # type: ignore[no-any-return]

    @classmethod
    def create(cls, folder: Path, key: dict[str, str], inputs: Inputs, shape: Shape) -> "FeatureDraft":
        """Make an empty draft. All its space is taken now, so that a full disk is an `OSError` here and not a
        crash later."""
        rows = len(inputs.ids) * inputs.views
        temporary = new_draft(folder.parent, f"{folder.name}.draft-")
        try:
            allocate(temporary / "tokens.npy", shape.dtype, (rows, shape.tokens, shape.width))
            allocate(temporary / "pooled.npy", np.float32, (rows, shape.pooled_width))
            allocate(temporary / "summary.npy", np.float16, (rows, shape.summary_width))
            allocate(temporary / "lengths.npy", np.int32, (rows,))
            if shape.has_content:
                allocate(temporary / f"{CONTENT}.npy", np.bool_, (rows, shape.tokens))
            allocate(temporary / "done.npy", np.bool_, (rows,))
            np.save(temporary / "ids.npy", inputs.ids)
            np.save(temporary / "inputs.npy", inputs.hashes)
            (temporary / "key.json").write_text(pretty_json(key))
            temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return cls(folder)

    @property
    def todo(self) -> NDArray[np.int64]:
        """Rows whose features are not there yet, ascending."""
        return np.flatnonzero(~self.done)

    def put(self, encoded: EncodedRows) -> None:
        """Store some rows; they count as done after the next `commit`."""
        for name in self.rows:
            self._arrays[name][encoded.rows] = getattr(encoded, name)
        self._fresh.append(encoded.rows)

    def commit(self) -> None:
        """Write the stored rows to disk, and only then the mark that they are done."""
        for name in self.rows:
            self._arrays[name].flush()  # type: ignore[attr-defined]
        for rows in self._fresh:
            self.done[rows] = True
        self._fresh.clear()
        self.done.flush()  # type: ignore[attr-defined]

    def take_from(self, donor: "FeatureDraft") -> int:
        """Copy the rows whose input the donor has done with the same encoder; returns how many."""
        theirs = {donor._arrays["inputs"][row].tobytes(): row for row in np.flatnonzero(donor.done)}
        mine = self._arrays["inputs"]
        matches = [(row, theirs[mine[row].tobytes()]) for row in self.todo if mine[row].tobytes() in theirs]
        tokens = self._arrays["tokens"].shape[1]
        for start in range(0, len(matches), _COPY_ROWS):
            rows, sources = np.array(matches[start : start + _COPY_ROWS]).T
            given = {name: donor._arrays[name][sources] for name in donor.rows}
            for name in {"tokens", CONTENT} & {*given}:
                cut = given[name][:, :tokens]
                padding = ((0, 0), (0, tokens - cut.shape[1]), (0, 0))
                given[name] = np.pad(cut, padding[: cut.ndim])
            self.put(EncodedRows(rows, **given))
        self.commit()
        return len(matches)

    def seal(self, published: Path) -> None:
        """Record the hashes of the complete arrays, by which `is_intact` knows them again."""
        files = read_manifest(published)["outputs"]
        write_atomic(
            self.folder / "sha256.json", pretty_json({name: file["sha256"] for name, file in files.items()})
        )

    def is_intact(self) -> bool:
        """Whether a sealed draft still is what was sealed; an unsealed one is taken at its word."""
        seal = self.folder / "sha256.json"
        if not seal.is_file():
            return True
        expected = json.loads(seal.read_text())
        return all(sha256_file(self.folder / name) == sha256 for name, sha256 in expected.items())

    def link_into(self, published: Path) -> None:
        """Put the arrays into another folder without copying them where the file system allows that."""
        for name in self._arrays:
            source, target = self.folder / f"{name}.npy", published / f"{name}.npy"
            try:
                target.hardlink_to(source)
            except OSError:
                shutil.copyfile(source, target)


def open_draft(folder: Path) -> FeatureDraft | None:
    """The draft of a folder, or None if there is none or it is damaged (it is then removed)."""
    if not folder.exists():
        return None
    try:
        draft = FeatureDraft(folder)
        if draft.is_intact():
            return draft
    except (FileNotFoundError, EOFError, ValueError):  # any other refusal says nothing about the rows
        pass
    shutil.rmtree(folder)
    return None
