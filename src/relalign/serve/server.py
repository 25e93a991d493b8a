"""`relalign serve`: load the runs, warm them up, open the port."""

import logging
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress

import uvicorn
from starlette.types import ASGIApp

from relalign.errors import RelalignError
from relalign.layout import Layout
from relalign.serve.answers import Query
from relalign.serve.app import create_app
from relalign.serve.impatience import Impatient
from relalign.serve.protection import LOOPBACK
from relalign.serve.runs import usable_methods
from relalign.serve.service import Service
from relalign.settings import Params

WILDCARDS = ("0.0.0.0", "::", "")  # noqa: S104 (known, not bound to)


def serve(
    params: Params, layout: Layout, methods: Sequence[str] | None, *, seed: int, host: str, port: int
) -> None:
    """Serve the page until interrupted; `methods` are by default all that are exported with this seed.

    Raises `RelalignError` if there is nothing to serve, or the address cannot be had.
    """
    listening = _listen(host, port)  # first, as loading takes seconds
    chosen = list(dict.fromkeys(methods or usable_methods(params, layout, seed=seed)))
    service = Service.of_project(params, layout, chosen, seed=seed)
    service.answer(
        [Query(tuple(chosen), text="warm"), Query(tuple(chosen), image_id=min(service.collection.paths))]
    )
    hosts = None if host in WILDCARDS else LOOPBACK | {f"[{host}]" if ":" in host else host}
    config = configured(create_app(service, hosts=hosts))
    name = "127.0.0.1" if host in WILDCARDS else f"[{host}]" if ":" in host else host
    sys.stdout.write(f"Open http://{name}:{listening.getsockname()[1]} (Ctrl-C ends it)\n")
    if hosts is None or not LOOPBACK & {host}:
        logging.getLogger(__name__).warning("other machines can search here and see the test split's images")
    sys.stdout.flush()
    with suppress(KeyboardInterrupt):  # which uvicorn raises again once it has ended well
        uvicorn.Server(config).run(sockets=[listening])


def configured(app: ASGIApp) -> uvicorn.Config:
    """How the application is served: so many connections, and so much patience with each."""
    return uvicorn.Config(
        app,
        log_level="warning",
        server_header=False,
        limit_concurrency=256,
        timeout_keep_alive=10,
        timeout_graceful_shutdown=3,
        h11_max_incomplete_event_size=16_384,
        http=Impatient,
        port=0,
        lifespan="off",
    )


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        raise RelalignError(
            f"{host}, port {port}, cannot be had: {error}. Choose another --port or --host."
        ) from error
    # Inherited by every connection. asyncio leaves a socket that it has not made itself without it, and then the
    # body of an answer waits 40 ms for the client to acknowledge the header.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening
