"""Images and texts that a caller gives, brought to what validation accepts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from relalign.data.caption_checks import check_captions

# A public name would change the file's meaning, and with it the identity of all cached features.
from relalign.data.images import BadImageError, _to_rgb, load_image
from relalign.data.readers.row import Row
from relalign.errors import RelalignError

Given = str | Path | Image.Image | NDArray[np.uint8]


def upright_image(given: object, max_pixels: int, *, name: str) -> Image.Image:
    """A path, a PIL image or an array as upright 8-bit RGB, decoded as validation does.

    An array is uint8 of shape (height, width), (height, width, 3) or (height, width, 4). `name` stands in errors
    for what is no file. Raises `RelalignError`: no usable image, or more than `max_pixels` pixels.
    """
    if isinstance(given, str | Path):
        return load_image(Path(given), max_pixels)
    if isinstance(given, np.ndarray):
        given = _from_array(given, name)
    if not isinstance(given, Image.Image):
        raise RelalignError(f"{name} is a {type(given).__name__}; give a path, a PIL image or a uint8 array.")
    if given.width * given.height > max_pixels:
        size = f"{given.width} x {given.height}"
        raise BadImageError(Path(name), "too large", f"{size} is more than max_pixels ({max_pixels:,})")
    try:
        given.load()
        return _to_rgb(Path(name), given).pixels
    except (BadImageError, MemoryError):
        raise
    except Exception as error:  # Pillow's decoders raise whatever their parsing trips over
        raise BadImageError(Path(name), "unreadable", f"{type(error).__name__}: {error}") from error


def _from_array(given: NDArray[Any], name: str) -> Image.Image:
    channels = given.shape[2] if given.ndim == 3 else 1
    if given.dtype != np.uint8 or given.ndim not in (2, 3) or channels not in (1, 3, 4) or not given.size:
        raise RelalignError(
            f"{name} is an array of {given.dtype} of shape {given.shape}; "
            "uint8 of shape (height, width, 3) is wanted."
        )
    return Image.fromarray(given[..., 0] if given.ndim == 3 and channels == 1 else given)


def checked_texts(texts: Sequence[object]) -> list[str]:
    """The texts with white space trimmed and collapsed; one that is empty or no text is a `RelalignError`."""
    if isinstance(texts, str):
        raise RelalignError(f"A list of texts is wanted, not one text: give [{texts!r}].")
    rows = [Row("", text, None, f"texts[{place}]") for place, text in enumerate(texts)]
    good, bad = check_captions(rows, keep_duplicates=True)
    if bad:
        raise RelalignError(f"{bad[0].origin} is {bad[0].reason}. Leave it out, or give a text.")
    return [str(row.caption) for row in good]
