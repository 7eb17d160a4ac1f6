"""The application of a server: all routes behind the guard."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.exceptions import HTTPException

from cign import __version__
from cign.errors import CignError
from cign.serving import openapi
from cign.serving.errors import HttpError, code_of, error_body, internal_error, status_of
from cign.serving.guard import Guard
from cign.serving.page import documentation
from cign.serving.routes import reading_router
from cign.serving.server_state import ServerState
from cign.serving.teaching import teaching_router

MakeRouter = Callable[[ServerState], APIRouter]


def make_app(state: ServerState, routers: Sequence[MakeRouter] = ()) -> Guard:
    """Build the application.

    Args:
        state: The model and the settings; the caller starts and closes it.
        routers: Functions that return further routes, for example of an integration. They share the
            token, the limits, the metrics and the form of errors.

    Returns:
        An ASGI application.
    """
    app = FastAPI(
        title="cign serve",
        version=__version__,
        description=openapi.DESCRIPTION,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
    )
    for make in (reading_router, teaching_router, *routers):
        app.include_router(make(state))

    @app.get("/openapi.json", include_in_schema=False)
    async def described() -> Response:
        return JSONResponse(openapi.with_examples(app.openapi()))

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return HTMLResponse(documentation(openapi.with_examples(app.openapi())))

    handlers: tuple[tuple[Any, Any], ...] = (
        (HttpError, _http_error),
        (CignError, _cign_error),
        (HTTPException, _library_error),
        (RequestValidationError, _invalid),
        (Exception, _internal),
    )
    for kind, handler in handlers:
        app.add_exception_handler(kind, handler)
    return Guard(app, state.settings, state.metrics)


def _answer(
    status: int, sentence: str, code: str, headers: dict[str, str] | None = None
) -> Response:
    body = error_body(sentence, code)
    return Response(body, status, headers=headers, media_type="application/json")


def _http_error(request: Request, error: HttpError) -> Response:
    return _answer(error.status, error.sentence, error.code, error.headers)


def _cign_error(request: Request, error: CignError) -> Response:
    return _answer(status_of(error), " ".join(str(error).split()), error.code)


def _internal(request: Request, error: Exception) -> Response:
    """Starlette sends this unless an answer has begun, and raises the error again for `Guard`."""
    return _http_error(request, internal_error())


def _library_error(request: Request, error: HTTPException) -> Response:
    sentence = {
        404: "no such route: GET /docs lists all routes",
        405: f"this route does not accept {request.method}: GET /docs lists all routes",
    }.get(error.status_code, f"{error.detail}: check the body of the request")
    headers = dict(error.headers or {})
    return _answer(error.status_code, sentence, code_of(error.status_code), headers)


def _invalid(request: Request, error: RequestValidationError) -> Response:
    """A parameter that is missing, or has another type or range."""
    one = error.errors()[0]
    where = " ".join(str(part) for part in one["loc"])
    sentence = f"{where}: {one['msg'][:200]}; GET /docs describes the parameters"
    return _answer(422, sentence, "bad-value")
