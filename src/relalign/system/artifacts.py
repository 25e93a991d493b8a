"""Publishing results: nothing half-written is ever visible, and every folder says what made it.

A folder is filled beside its final place, its manifest is written last, everything is flushed to disk and
one rename publishes it. The manifest holds no clock and no path, so equal work gives equal bytes.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any

from relalign import __version__
from relalign.errors import RelalignError

MANIFEST = "manifest.json"
RECORDED_PACKAGES = ("torch", "transformers", "numpy", "faiss-cpu", "pandas", "pillow")


def sha256_file(path: Path) -> str:
    """The sha256 of a file's bytes, as 64 hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_content(path: Path) -> str:
    """Of a file, its sha256; of a folder, one over the names and contents of all files in it."""
    if path.is_file():
        return sha256_file(path)
    lines = [
        f"{sha256_file(file)}  {file.relative_to(path).as_posix()}\n"
        for file in sorted(path.rglob("*"))
        if file.is_file()
    ]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def digest(source: Path) -> str:
    """One sha256 for an input: of a file, or of a published folder's manifest (which lists its files' hashes)."""
    return sha256_file(source / MANIFEST if source.is_dir() else source)


def canonical_json(value: Any) -> str:
    """JSON with sorted keys, so that equal values give equal text: `{"b": 1, "a": 2}` -> `{"a":2,"b":1}`."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def pretty_json(value: Any) -> str:
    """JSON for people: sorted, indented, NaN refused, one newline at the end."""
    return json.dumps(value, sort_keys=True, indent=2, allow_nan=False) + "\n"


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write a file that is either the old one or the whole new one, whatever happens in between."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content.encode() if isinstance(content, str) else content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _flush(path.parent)


def write_manifest(folder: Path, *, made_by: str, parameters: Any, inputs: Mapping[str, Path]) -> None:
    """Record what made `folder`: parameters, input hashes, versions and the hash and size of each file in it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    manifest = {
        "made_by": made_by,
        "relalign": __version__,
        "packages": {name: version(name) for name in RECORDED_PACKAGES},
        "parameters": parameters,
        "inputs": {name: digest(path) for name, path in inputs.items()},
        "outputs": {
            path.relative_to(folder).as_posix(): {"sha256": sha256_file(path), "bytes": path.stat().st_size}
            for path in files
        },
    }
    for path in files:
        _flush(path)
    write_atomic(folder / MANIFEST, pretty_json(manifest))


@contextmanager
def publish(
    folder: Path, *, made_by: str, parameters: Any = None, inputs: Mapping[str, Path] | None = None
) -> Iterator[Path]:
    """Yield an empty folder to fill; on success it becomes `folder`, on any error nothing of it remains.

    `parameters` is any JSON value; `inputs` names the files or published folders the work has read. An older
    `folder` is replaced only once the new one is complete. What a killed process had begun of it is removed; so
    only one process may be making `folder`.

    >>> with publish(Path("results/x"), made_by="example") as draft:  # doctest: +SKIP
    ...     (draft / "answer.txt").write_text("42")
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = new_draft(folder.parent, f".{folder.name}.draft-")
    try:
        draft.chmod(0o755)
        yield draft
        write_manifest(draft, made_by=made_by, parameters=parameters, inputs=inputs or {})
        replaced = draft.with_name(draft.name + ".old")
        if folder.exists():
            folder.rename(replaced)
        draft.rename(folder)
        shutil.rmtree(replaced, ignore_errors=True)
        _flush(folder.parent)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def new_draft(parent: Path, prefix: str) -> Path:
    """A new empty folder in `parent`; those of that prefix which killed processes left are removed."""
    for abandoned in parent.iterdir():
        if abandoned.name.startswith(prefix):
            shutil.rmtree(abandoned, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=prefix, dir=parent))


def read_manifest(
    folder: Path,
    *,
    verify: bool = False,
    made_from: Mapping[str, Path] = MappingProxyType({}),
    way_out: str = "run the pipeline again",
) -> dict[str, Any]:
    """The manifest of a published folder; `verify` also checks every file's hash.

    `made_from` are inputs by their names in the manifest, as far as it names them and they are there: a folder
    that was made from others, such as one that was swapped with another dataset's, is refused.

    Raises `RelalignError` naming the folder or file that is missing, truncated, altered or swapped; "delete it and
    `way_out`" is what it advises.
    """
    path = folder / MANIFEST
    advice = f"Delete {folder} and {way_out}."
    if not path.is_file():
        raise RelalignError(f"{folder} is incomplete: it has no {MANIFEST}. {advice}")
    try:
        manifest: dict[str, Any] = json.loads(path.read_text())
        outputs, _ = manifest["outputs"].items(), manifest["inputs"].items()
    except (ValueError, KeyError, TypeError, AttributeError):
        raise RelalignError(f"{path} is damaged. {advice}") from None
    for name, expected in outputs:
        file = folder / name
        if not file.is_file() or file.stat().st_size != expected["bytes"]:
            raise RelalignError(f"{file} is missing or truncated. {advice}")
        if verify and sha256_file(file) != expected["sha256"]:
            raise RelalignError(f"{file} differs from its manifest. {advice}")
    for name, source in made_from.items():
        if name in manifest["inputs"] and source.exists() and manifest["inputs"][name] != digest(source):
            raise RelalignError(f"{folder} was not made from {source} as it is now. {advice}")
    return manifest
