"""An uploaded image: bounded in bytes, pixels and time, and decoded as validation decodes the project's own."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from PIL import Image

from relalign.data.images import BadImageError, load_image

# Fewer than validation reads: what a browser shows, and TIFF.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
AT_ONCE = 2


@dataclass(frozen=True)
class UploadLimits:
    """What is accepted of one image, and how long it may take to arrive and to be decoded."""

    bytes: int = 20_000_000
    pixels: int = 50_000_000
    seconds: float = 20.0


class BadUploadError(Exception):
    """An upload that is refused, with the HTTP status and a sentence for whoever sent it."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class Uploads:
    """Reads and decodes uploads, a few at once, so that memory stays bounded."""

    def __init__(self, limits: UploadLimits) -> None:
        self.limits = limits
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="decode")

    async def image(self, chunks: AsyncIterator[bytes], *, declared: int | None) -> Image.Image:
        """The image of a request's body; `declared` is its Content-Length. Raises `BadUploadError`."""
        try:
            async with asyncio.timeout(self.limits.seconds):
                content = await self._read(chunks, declared)
                decode = partial(decoded, content, self.limits.pixels)
                return await asyncio.get_running_loop().run_in_executor(self._threads, decode)
        except TimeoutError as error:
            sentence = f"The image took longer than {self.limits.seconds:g} seconds. Send a smaller one."
            raise BadUploadError(408, sentence) from error

    async def _read(self, chunks: AsyncIterator[bytes], declared: int | None) -> bytes:
        too_large = BadUploadError(
            413, f"The image is larger than {self.limits.bytes / 1e6:g} MB. Send a smaller one."
        )
        if declared is not None and declared > self.limits.bytes:
            raise too_large
        content = bytearray()
        async for chunk in chunks:
            content += chunk
            if len(content) > self.limits.bytes:
                raise too_large
        return bytes(content)


def decoded(content: bytes, max_pixels: int) -> Image.Image:
    """Upright RGB of an image file's bytes, by `relalign.data.images`; `BadUploadError` for what is none."""
    if not content:
        raise BadUploadError(400, "The image is empty: it has zero bytes.")
    with tempfile.NamedTemporaryFile(prefix="relalign-", suffix=".upload") as file:
        file.write(content)
        file.flush()
        try:
            with Image.open(file.name, formats=FORMATS):
                pass
            return load_image(Path(file.name), max_pixels)
        except (BadImageError, Image.DecompressionBombError) as error:
            if getattr(error, "reason", "too large") == "too large":
                sentence = f"The image has more than {max_pixels:,} pixels. Send a smaller one."
                raise BadUploadError(413, sentence) from error
        except Exception:  # noqa: S110 (Pillow raises whatever its parsing trips over; all of it means the same)
            pass
    raise BadUploadError(400, f"This is no image that can be read. {', '.join(FORMATS)} can, if they are whole.")
