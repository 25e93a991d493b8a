"""A full disk is said in one sentence, not in a traceback."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from relalign.errors import RelalignError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def full_disk_explained(place: Path) -> Iterator[None]:
    """Turn "no space left", "quota exceeded" and "file too large" into a `RelalignError` naming `place`."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise RelalignError(
            f"The disk is full ({error.strerror}) while writing {place}. Nothing half-written was kept; "
            "free some space and run the pipeline again."
        ) from error
