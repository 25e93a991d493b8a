"""One HTTP(S) download that survives a broken connection and never shows a partial file as finished."""

import http.client
import json
import logging
import ssl
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from relalign.errors import RelalignError

log = logging.getLogger(__name__)

_BLOCK = 1 << 18
_TRANSIENT = (408, 425, 429, 500, 502, 503, 504)


class NotFoundError(RelalignError):
    """The server says that there is no such file (404 or 410)."""


@dataclass(frozen=True)
class Patience:
    """How long to keep trying: attempts in all, seconds of silence allowed, and the first pause (it doubles)."""

    attempts: int = 5
    timeout: float = 60.0
    pause: float = 1.0


class _BrokenTransferError(Exception):
    """Worth another attempt."""


def download(url: str, target: Path, patience: Patience | None = None) -> None:
    """Fetch `url` into `target`, by way of the hidden sibling `.<name>.partial`.

    A broken transfer goes on where it stopped when the server can do ranges and its ETag or Last-Modified says
    that the file is still the same; otherwise it starts again from nothing. A partial file of an earlier,
    killed process is used in the same way.

    Raises `NotFoundError` for 404 and 410, `RelalignError` for any other refusal or when attempts run out.
    """
    patience = patience or Patience()
    partial = target.with_name(f".{target.name}.partial")
    for attempt in range(patience.attempts):
        try:
            _attempt(url, partial, patience.timeout)
        except _BrokenTransferError as broken:
            if attempt + 1 == patience.attempts:
                raise RelalignError(
                    f"{url}: gave up after {patience.attempts} attempts ({broken}). "
                    "What has arrived is kept: run the pipeline again to go on."
                ) from broken
            log.warning("%s: %s; trying again", url, broken)
            time.sleep(patience.pause * 2**attempt)
        else:
            partial.replace(target)
            _validator_file(partial).unlink(missing_ok=True)
            return


def _attempt(url: str, partial: Path, timeout: float) -> None:
    have = partial.stat().st_size if partial.exists() else 0
    validator = _read_validator(partial, url)
    headers = {"User-Agent": "relalign", "Accept-Encoding": "identity"}
    if have and validator:
        headers |= {"Range": f"bytes={have}-", "If-Range": validator}
    try:
        request = urllib.request.Request(url, headers=headers)  # noqa: S310 (its callers let http: and https: pass)
        with urllib.request.urlopen(request, timeout=timeout) as reply:  # noqa: S310 (the same)
            _receive(reply, url, partial, have)
    except urllib.error.HTTPError as error:
        _explain_status(url, partial, error.code, error.reason)
    # An OSError with no connection in it (a full disk) is not the network's fault and passes through.
    except (
        urllib.error.URLError,
        http.client.HTTPException,
        ssl.SSLError,
        ConnectionError,
        TimeoutError,
    ) as error:
        raise _BrokenTransferError(f"the connection failed: {getattr(error, 'reason', error)}") from error


def _explain_status(url: str, partial: Path, status: int, reason: str) -> None:
    if status == 416:  # the partial file is no prefix of what the server has now
        partial.unlink(missing_ok=True)
        raise _BrokenTransferError("the server refuses to continue")
    if status in _TRANSIENT:
        raise _BrokenTransferError(f"the server answers {status} {reason}")
    if status in (404, 410):
        raise NotFoundError(f"{url}: the server has no such file ({status}). Mend the url in params.yaml.")
    raise RelalignError(f"{url}: the server refuses: {status} {reason}. Mend the url, or fetch the file by hand.")


def _receive(reply: Any, url: str, partial: Path, have: int) -> None:
    resumed = reply.status == 206 and reply.headers.get("Content-Range", "").startswith(f"bytes {have}-")
    start = have if resumed else 0
    length = reply.headers.get("Content-Length")
    total = start + int(length) if length else None
    if not resumed:
        partial.unlink(missing_ok=True)
        _write_validator(partial, url, reply.headers)
    with (
        partial.open("ab") as out,
        tqdm(
            desc=partial.name[1:-8],
            total=total,
            initial=start,
            unit="B",
            unit_scale=True,
            leave=False,
            disable=None,
        ) as bar,
    ):
        while block := reply.read(_BLOCK):
            out.write(block)
            bar.update(len(block))
    arrived = partial.stat().st_size
    if total is not None and arrived != total:
        raise _BrokenTransferError(f"the connection broke after {arrived:,} of {total:,} bytes")


def _validator_file(partial: Path) -> Path:
    return partial.with_name(partial.name + ".json")


def _read_validator(partial: Path, url: str) -> str | None:
    try:
        saved = json.loads(_validator_file(partial).read_text())
        return str(saved["validator"]) if saved["url"] == url else None
    except (OSError, ValueError, KeyError):
        return None


def _write_validator(partial: Path, url: str, headers: Any) -> None:
    etag = headers.get("ETag", "")
    validator = etag if etag and not etag.startswith("W/") else headers.get("Last-Modified")
    record = {"url": url, "validator": validator} if validator else {}
    _validator_file(partial).write_text(json.dumps(record))
