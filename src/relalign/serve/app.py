"""The HTTP side: the page, the API and its description, images by id, health and metrics."""

import asyncio
import io
import secrets
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from importlib.resources import files
from time import perf_counter
from typing import Annotated, Literal

import jinja2
from fastapi import FastAPI, Query, Request, Response
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from markupsafe import Markup
from PIL import Image
from starlette.types import ASGIApp

from relalign import __version__
from relalign.data.images import load_image
from relalign.serve import answers
from relalign.serve.batching import Batched
from relalign.serve.failures import add_error_handlers
from relalign.serve.monitoring import CountRequests, Monitor
from relalign.serve.protection import Protection
from relalign.serve.schema import ERRORS, TEXT_AT_MOST, Asked, Info, RandomQuery, examples_of, info_of, shown_first
from relalign.serve.service import Service
from relalign.serve.uploads import BadUploadError, UploadLimits, Uploads

SHOWN_PIXELS = 320
WAIT_SECONDS = 30.0


def create_app(
    service: Service, *, hosts: frozenset[str] | None = None, limits: UploadLimits | None = None
) -> ASGIApp:
    """The application over loaded runs. `hosts` are the names it answers to (None: any)."""
    app = FastAPI(
        title="relalign search",
        version=__version__,
        description="Search by text or image in the test split of a dataset.",
        docs_url=None,
        redoc_url=None,
    )
    monitor = Monitor()

    def work(queries: Sequence[answers.Query]) -> list[answers.Answer]:
        monitor.batch.observe(len(queries))
        return service.answer(queries)

    app.state.service, app.state.monitor = service, monitor
    limits = limits or UploadLimits(pixels=next(iter(service.runs.values())).model.max_pixels)
    app.state.uploads, app.state.batched = Uploads(limits), Batched(work)
    _add_pages(app)
    _add_search(app)
    _add_library(app, service)
    add_error_handlers(app)
    # Around the whole application and not inside it, so that an answer to a failure is protected and counted, too.
    return Protection(CountRequests(app, monitor), hosts)


def _add_pages(app: FastAPI) -> None:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("relalign.serve", ""), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["thousands"] = lambda value: f"{value:,}"
    environment.filters["code"] = _with_code
    service, uploads = app.state.service, app.state.uploads
    info, examples = info_of(service), examples_of(service.collection)

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def page() -> str:
        return environment.get_template("page.html.j2").render(
            info=info,
            shown=shown_first(service),
            examples=examples,
            limits=uploads.limits,
            text_at_most=TEXT_AT_MOST,
        )

    @app.get("/api", response_class=HTMLResponse, include_in_schema=False)
    async def description(request: Request) -> str:
        return environment.get_template("api.html.j2").render(
            api=app.openapi(), info=info, base=str(request.base_url).rstrip("/")
        )

    @app.get("/healthz", tags=["operation"])
    async def healthz() -> dict[str, str]:
        """Says that the models are loaded and queries are answered."""
        return {"status": "ok"}

    @app.get("/metrics", tags=["operation"], response_class=Response)
    async def metrics() -> Response:
        """Counts and durations in Prometheus' text format."""
        return Response(app.state.monitor.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    static = files("relalign.serve").joinpath("static")
    app.mount("/static", StaticFiles(directory=str(static)), name="static")


def _with_code(text: str) -> Markup:
    """A docstring as HTML: what stands between backticks is code."""
    parts = text.split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if odd % 2 else part for odd, part in enumerate(parts)
    )


def _add_search(app: FastAPI) -> None:
    service: Service = app.state.service

    async def answered(asked: Asked, picture: Image.Image | None, start: float) -> answers.Answer:
        query = service.checked(
            answers.Query(
                tuple(dict.fromkeys(asked.method)) or ([*service.runs][-1],),
                asked.text,
                picture,
                asked.caption,
                asked.image,
                asked.mix,
                asked.top,
                asked.rerank,
            )
        )
        async with asyncio.timeout(WAIT_SECONDS):
            answer: answers.Answer = await app.state.batched(query)
        seconds = perf_counter() - start
        app.state.monitor.seconds.labels(query.kind).observe(seconds)
        return replace(answer, milliseconds=round(1000 * seconds, 2))

    @app.get("/api/search", tags=["search"], responses=ERRORS)
    async def search(asked: Annotated[Asked, Query()]) -> answers.Answer:
        """Search by a text, or by ids of the test split: the nearest images and texts of each method."""
        return await answered(asked, None, perf_counter())

    @app.post(
        "/api/search",
        tags=["search"],
        responses=ERRORS,
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}},
            }
        },
    )
    async def search_by_image(request: Request, asked: Annotated[Asked, Query()]) -> answers.Answer:
        """Search by an image, whose bytes are the body, alone or mixed with a text."""
        start = perf_counter()
        if request.headers.get("content-type", "").startswith("multipart/"):
            raise BadUploadError(415, "Send the image's bytes alone as the body: curl --data-binary @dog.jpg")
        length = request.headers.get("content-length", "")
        picture = await app.state.uploads.image(
            request.stream(), declared=int(length) if length.isdecimal() else None
        )
        return await answered(asked, picture, start)


def _add_library(app: FastAPI, service: Service) -> None:
    collection = service.collection
    captions, images = sorted(collection.captions), sorted(collection.paths)

    @lru_cache(maxsize=2048)
    def shown(image_id: int) -> bytes:
        picture = load_image(collection.file(image_id), next(iter(service.runs.values())).model.max_pixels)
        picture.thumbnail((SHOWN_PIXELS, SHOWN_PIXELS), Image.Resampling.LANCZOS)
        stream = io.BytesIO()
        picture.save(stream, "JPEG", quality=88, optimize=True)
        return stream.getvalue()

    @app.get("/api/info", tags=["library"])
    async def info() -> Info:
        """What is served: dataset, methods, indexes."""
        return info_of(service)

    @app.get("/api/random", tags=["library"], responses=ERRORS)
    async def random(of: Literal["text", "image"] = "text") -> RandomQuery:
        """A caption or an image of the test split, by chance."""
        if of == "image":
            return RandomQuery(image=secrets.choice(images))
        caption = secrets.choice(captions)
        return RandomQuery(caption=caption, text=collection.captions[caption])

    # Not async: decoding is done in a thread.
    @app.get("/api/images/{image_id}", tags=["library"], responses=ERRORS, response_class=Response)
    def image(image_id: int) -> Response:
        """An image of the test split as a JPEG of at most 320 x 320 pixels."""
        return Response(
            shown(image_id), media_type="image/jpeg", headers={"Cache-Control": "private, max-age=300"}
        )
