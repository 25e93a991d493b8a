"""A small HTTP server on 127.0.0.1 that misbehaves as told."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@dataclass
class Behaviour:
    """What the server does: `cut_after` and `statuses` are used up one a request."""

    files: dict[str, bytes]
    etag: str | None = '"one"'
    ranges: bool = True
    cut_after: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    url: str = ""
    seen: list[str | None] = field(default_factory=list)


@contextmanager
def serving(behaviour: Behaviour) -> Iterator[Behaviour]:
    """Serve `behaviour.files` by path; `seen` collects the Range header of each request."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            behaviour.seen.append(self.headers.get("Range"))
            content = behaviour.files.get(self.path.partition("?")[0])
            status = behaviour.statuses.pop(0) if behaviour.statuses else 200 if content is not None else 404
            if status != 200:
                self.send_error(status)
                return
            start = self._start()
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            if behaviour.etag:
                self.send_header("ETag", behaviour.etag)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            cut = behaviour.cut_after.pop(0) if behaviour.cut_after else len(content)
            self.wfile.write(content[start : start + cut])

        def _start(self) -> int:
            match = re.match(r"bytes=(\d+)-", self.headers.get("Range") or "")
            fits = self.headers.get("If-Range") in (None, behaviour.etag)
            return int(match[1]) if match and behaviour.ranges and fits else 0

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    behaviour.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield behaviour
    finally:
        server.shutdown()
        server.server_close()
