"""Every failure is one sentence for a person, with the status that says whose it is."""

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from relalign.data.images import BadImageError
from relalign.serve.batching import BusyError
from relalign.serve.collection import UnknownItemError
from relalign.serve.service import NotAskableError
from relalign.serve.uploads import BadUploadError


def add_error_handlers(app: FastAPI) -> None:
    """Let `{"error": "a sentence"}` be the answer to everything that goes wrong."""

    def said(status: int, sentence: str, headers: dict[str, str] | None = None) -> JSONResponse:
        return JSONResponse({"error": sentence}, status, headers)

    @app.exception_handler(RequestValidationError)
    async def not_valid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        name = next(str(part) for part in first["loc"][1:] or first["loc"])
        if first["type"] == "extra_forbidden":
            return said(422, f"'{name}' is no parameter of this call. Those it has are on the page /api.")
        return said(422, f"{name}: {first['msg'][:1].lower()}{first['msg'][1:]}.")

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        known = {404: "There is nothing at this address.", 405: "This address does not take this kind of request."}
        return said(error.status_code, known.get(error.status_code, str(error.detail)), dict(error.headers or {}))

    @app.exception_handler(NotAskableError)
    async def not_askable(request: Request, error: NotAskableError) -> JSONResponse:
        return said(400, str(error))

    @app.exception_handler(UnknownItemError)
    async def unknown(request: Request, error: UnknownItemError) -> JSONResponse:
        return said(404, str(error))

    @app.exception_handler(BadUploadError)
    async def bad_upload(request: Request, error: BadUploadError) -> JSONResponse:
        # What is left of a body that is too large is not read: the connection cannot be used again.
        return said(error.status, str(error), {"Connection": "close"})

    @app.exception_handler(BadImageError)
    async def bad_image(request: Request, error: BadImageError) -> JSONResponse:
        return said(404, "The file of this image is not there any more, or not readable.")

    @app.exception_handler(BusyError)
    @app.exception_handler(TimeoutError)
    async def busy(request: Request, error: Exception) -> JSONResponse:
        return said(503, "Too many queries wait. Try again in a few seconds.", {"Retry-After": "5"})

    @app.exception_handler(Exception)
    async def broken(request: Request, error: Exception) -> JSONResponse:
        return said(500, "Something went wrong here; the server's log says what.")
