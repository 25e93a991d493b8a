"""What the machine refuses is said in one sentence, not in a traceback."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from relalign.errors import RelalignError

# Libraries that write files themselves (NumPy, safetensors, FAISS) pass on the words and not the number.
_FULL = re.compile(r"No space left|File too large|quota exceeded|requested and \d+ written")
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)
_TOO_MANY_FILES = (errno.EMFILE, errno.ENFILE)


@contextmanager
def full_disk_explained(place: Path) -> Iterator[None]:
    """Turn "no space left", "quota exceeded" and "file too large" into a `RelalignError` naming `place`."""
    try:
        yield
    except OSError as error:
        if not _FULL.search(str(error)):
            raise
        raise RelalignError(_full(error, place)) from error


def refusal(error: Exception) -> str | None:
    """What the machine refused and how to mend it; None for an error of another kind."""
    if _FULL.search(str(error)):
        return _full(error, getattr(error, "filename", None) or "a result")
    if not isinstance(error, OSError):
        return None
    if error.errno in _REFUSED:
        return (
            f"This user has no permission ({error.strerror}): {error.filename}. Change its mode or owner, or run "
            "as its owner."
        )
    if error.errno in _TOO_MANY_FILES:
        return (
            f"Too many files are open at once ({error.filename}). Allow more with `ulimit -n 4096` and run again."
        )
    return None


def allocate(path: Path, dtype: Any, shape: tuple[int, ...]) -> None:
    """Make a file of zeros that `np.load(path, mmap_mode="r+")` opens; all its space is taken now, so that a full
    disk is an `OSError` here and not a crash when it is written."""
    from numpy.lib.format import open_memmap  # not for each command that may have to say what the disk refuses

    open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    with path.open("r+b") as stream:
        os.posix_fallocate(stream.fileno(), 0, path.stat().st_size)


def _full(error: Exception, place: object) -> str:
    said = getattr(error, "strerror", None) or str(error).splitlines()[0]
    return (
        f"The disk is full ({said}) while writing {place}. Nothing half-written was kept; free some space and run "
        "the pipeline again."
    )
