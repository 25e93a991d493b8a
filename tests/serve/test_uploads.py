"""Time is bounded, too: of what arrives slowly, and of what decodes slowly."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from relalign.serve import uploads
from relalign.serve.uploads import BadUploadError, UploadLimits, Uploads


async def slowly() -> AsyncIterator[bytes]:
    while True:
        yield b"x"
        await asyncio.sleep(0.01)


async def at_once() -> AsyncIterator[bytes]:
    yield b"x"


def test_an_image_that_arrives_slowly_is_given_up() -> None:
    with pytest.raises(BadUploadError, match=r"longer than 0\.1 seconds") as caught:
        asyncio.run(Uploads(UploadLimits(seconds=0.1)).image(slowly(), declared=None))
    assert caught.value.status == 408


def test_an_image_that_decodes_slowly_is_given_up(monkeypatch) -> None:
    monkeypatch.setattr(uploads, "decoded", lambda content, pixels: time.sleep(0.5))
    with pytest.raises(BadUploadError, match="longer"):
        asyncio.run(Uploads(UploadLimits(seconds=0.1)).image(at_once(), declared=1))


def test_an_image_said_to_be_too_large_is_not_read() -> None:
    async def never() -> AsyncIterator[bytes]:
        raise AssertionError
        yield b""

    with pytest.raises(BadUploadError, match="larger than 1e-05 MB") as caught:
        asyncio.run(Uploads(UploadLimits(bytes=10)).image(never(), declared=11))
    assert caught.value.status == 413
