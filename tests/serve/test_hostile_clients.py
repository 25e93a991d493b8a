"""Clients that are slow, silent, many or rude, over real sockets: the next person is answered all the same."""

import json
import re
import socket
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

pytest.importorskip("selenium", reason="selenium is not installed (requirements/dev.in)")

from relalign.serve import impatience
from relalign.serve.app import create_app
from relalign.serve.protection import LOOPBACK
from relalign.serve.service import Service
from relalign.serve.uploads import UploadLimits
from tests.serve.browser import serving

HEAD = b"POST /api/search HTTP/1.1\r\nHost: localhost\r\n"


@pytest.fixture(scope="module")
def address(service: Service) -> Iterator[tuple[str, int]]:
    limits = UploadLimits(bytes=50_000, seconds=1.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(impatience, "SECONDS", 1.0)
        with serving(create_app(service, hosts=LOOPBACK, limits=limits)) as url:
            yield "127.0.0.1", int(url.rpartition(":")[2])


def sent(address: tuple[str, int], content: bytes) -> socket.socket:
    client = socket.create_connection(address, timeout=20)
    client.sendall(content)
    return client


def answer(client: socket.socket) -> bytes:
    """All that the server says until it closes the connection."""
    said = b""
    while block := client.recv(1 << 16):
        said += block
    return said


def is_answered(address: tuple[str, int]) -> bool:
    with urllib.request.urlopen(f"http://127.0.0.1:{address[1]}/api/search?text=dog", timeout=20) as response:
        return bool(json.load(response)["methods"])


@pytest.mark.parametrize("content", [b"", b"GET /api/info HTTP/1.1\r\nHost: loc"], ids=["silent", "half a header"])
def test_a_client_that_never_ends_its_request_loses_its_connection(
    address: tuple[str, int], content: bytes
) -> None:
    with sent(address, content) as client:
        start = time.perf_counter()
        assert answer(client) == b""
        assert time.perf_counter() - start < 15


def drip(client: socket.socket) -> None:
    for number in range(100):
        client.sendall(b"X-%d: a\r\n" % number)
        time.sleep(0.1)


def test_a_header_that_drips_in_is_cut_off(address: tuple[str, int]) -> None:
    with sent(address, b"GET / HTTP/1.1\r\n") as client, pytest.raises(OSError, match=r"Broken pipe|reset"):
        drip(client)


def test_an_upload_that_drips_in_is_given_up_with_a_sentence(address: tuple[str, int]) -> None:
    with sent(address, HEAD + b"Content-Length: 40000\r\n\r\n") as client:
        client.sendall(b"x" * 100)
        said = answer(client)
    assert said.startswith(b"HTTP/1.1 408")
    assert b"took longer than 1 seconds" in said
    assert b"content-security-policy" in said.lower()


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (HEAD + b"Content-Length: 99999999999\r\n\r\n", b"413"),
        (HEAD + b"Content-Length: 60000\r\n\r\n" + b"x" * 60_000, b"413"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n", b"400"),
        (HEAD + b"Content-Length: -1\r\n\r\n", b"400"),
        (HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 200_000, b"4\\d\\d"),
        (b"GET /static/../app.py HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", b"404"),
        (b"GET /static/..%2fapp.py HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", b"404"),
        (b"GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n", b"400"),
        (b"\x16\x03\x01\x02\x00\x01\x00" + bytes(100), b"400"),
    ],
    ids=["huge", "large", "chunk", "negative", "two lengths", "long", "dots", "encoded dots", "host", "tls"],
)
def test_a_request_that_is_wrong_in_bytes_is_refused(
    address: tuple[str, int], content: bytes, status: bytes
) -> None:
    with sent(address, content) as client:
        try:
            said = answer(client)
        except ConnectionResetError:
            said = b""  # the server closes while the rest of a large body is on its way
    assert re.match(rb"HTTP/1\.1 " + status, said) or (said == b"" and len(content) > 50_000)
    assert is_answered(address)


def test_two_hundred_silent_clients_keep_nobody_from_being_answered(address: tuple[str, int]) -> None:
    with ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(sent(address, HEAD + b"Content-Length: 40000\r\n\r\n"))
        assert is_answered(address)
