"""The one way this project turns an image file into pixels.

Every stage calls `load_image`, so what validation has accepted is exactly what the encoders see.
"""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from relalign.errors import RelalignError

# Not all that Pillow knows: its reader of EPS starts Ghostscript, and others are hardly ever tried.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM")
_SIXTEEN_BIT = ("I;16", "I;16B", "I;16L", "I;16N")
_ORIENTATION = 0x0112


class BadImageError(RelalignError):
    """An image that cannot be used; `reason` is one of missing, empty, too large, unreadable."""

    def __init__(self, path: Path, reason: str, detail: str) -> None:
        super().__init__(path, reason, detail)  # all arguments, so that the error survives pickling
        self.reason = reason

    def __str__(self) -> str:
        path, reason, detail = self.args
        return f"{path}: the image is {reason}: {detail}"


@dataclass(frozen=True)
class DecodedImage:
    """Upright 8-bit RGB pixels, and what had to be done to get them (`animated`, `cmyk`, `rotated`, ...)."""

    pixels: Image.Image
    conversions: tuple[str, ...]


def load_image(path: Path, max_pixels: int) -> Image.Image:
    """The image of a file as upright 8-bit RGB, fully decoded (see `decode_image`)."""
    return decode_image(path, max_pixels).pixels


def decode_image(path: Path, max_pixels: int) -> DecodedImage:
    """Decode a file fully and make it upright 8-bit RGB.

    EXIF orientation is applied; transparency is laid on white; 16-bit grey is scaled by 1/257, not clipped;
    of an animation the first frame is taken; CMYK and palettes are converted. Width x height above `max_pixels`
    is refused from the header, before any pixel is decoded.

    Raises `BadImageError` naming the file if it is missing, empty, truncated, too large or no image.
    """
    if not path.is_file():
        raise BadImageError(path, "missing", "there is no such file")
    if path.stat().st_size == 0:
        raise BadImageError(path, "empty", "the file has zero bytes")
    try:
        with warnings.catch_warnings(), Image.open(path, formats=FORMATS) as image:
            warnings.simplefilter("ignore")
            width, height = image.size
            if width * height > max_pixels:
                raise BadImageError(
                    path, "too large", f"{width} x {height} is more than max_pixels ({max_pixels:,})"
                )
            image.load()
            return _to_rgb(path, image)
    except (BadImageError, MemoryError):
        raise
    except Image.DecompressionBombError:
        raise BadImageError(path, "too large", f"far more than max_pixels ({max_pixels:,})") from None
    # Pillow's decoders raise whatever their parsing trips over (OSError, SyntaxError, struct.error, ...).
    except Exception as error:
        raise BadImageError(path, "unreadable", f"{type(error).__name__}: {error}") from error


def _to_rgb(path: Path, image: Image.Image) -> DecodedImage:
    conversions = []
    if getattr(image, "is_animated", False):
        conversions.append("animated")
    if image.getexif().get(_ORIENTATION, 1) in range(2, 9):
        conversions.append("rotated")
    upright = ImageOps.exif_transpose(image)
    if upright.mode in (*_SIXTEEN_BIT, "I", "F"):
        conversions.append("16-bit")
        upright = _eight_bit(path, upright)
    elif upright.mode == "CMYK":
        conversions.append("cmyk")
    elif upright.has_transparency_data:
        conversions.append("transparent")
        layer = upright.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        upright = Image.alpha_composite(white, layer)
    return DecodedImage(upright.convert("RGB"), tuple(conversions))


def _eight_bit(path: Path, image: Image.Image) -> Image.Image:
    values = np.asarray(image)
    if image.mode == "F" or values.min() < 0 or values.max() > 65535:
        raise BadImageError(path, "unreadable", "32-bit pixels have no agreed range; save it with 8 or 16 bits")
    return Image.fromarray(np.round(values / 257.0).astype(np.uint8))
