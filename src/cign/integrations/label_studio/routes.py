"""The backend over HTTP: a FastAPI router that can be mounted into any application."""

from __future__ import annotations

import base64
import binascii
import json
import secrets
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from cign.errors import CignError, InputError
from cign.integrations.label_studio.backend import Backend
from cign.utils.files import parse_json

if TYPE_CHECKING:
    from fastapi import APIRouter, Request, Response

TOKEN_VARIABLE = "CIGN_LABEL_STUDIO_TOKEN"
MAX_BODY = 32 * 2**20
_STATUS = {"bad-usage": 400, "busy": 409, "model-changed": 409}
_OTHERS = 422
Answer = tuple[int, dict[str, Any]]


class _RefusedError(Exception):
    """A request that is refused before it is read.

    Args:
        status: HTTP status.
        sentence: Why.
    """

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


def router(backend: Backend, *, token: str | None = None, max_body: int = MAX_BODY) -> APIRouter:
    """The routes of the protocol: ``/setup``, ``/predict``, ``/webhook``, ``/train`` and more.

    Errors are ``{"error": sentence, "error_code": code}`` with a status of 400 or more. Requests
    from pages in a browser are refused, so that no other site can use a backend on this machine.

    Args:
        backend: Answers the requests.
        token: If given, requests must have it as password of HTTP basic authentication, or in the
            header ``Authorization: Token ...`` or ``Bearer ...``.
        max_body: Largest accepted request, in bytes.
    """
    from fastapi import APIRouter, Request
    from fastapi.concurrency import run_in_threadpool
    from fastapi.responses import Response

    async def answered(
        request: Request, how: Callable[[Mapping[str, Any]], Answer], *, has_body: bool
    ) -> Response:
        try:
            _check(request, token)
            body = await _body(request, max_body) if has_body else {}
            status, answer = await run_in_threadpool(how, body)
        except _RefusedError as error:
            headers = {"connection": "close"}
            if error.status == 401:
                headers["www-authenticate"] = 'Basic realm="cign"'
            return json_answer({"error": str(error)}, error.status, headers)
        except CignError as error:
            answer = {"error": str(error), "error_code": error.code}
            status = _STATUS.get(error.code, _OTHERS)
        return json_answer(answer, status)

    def json_answer(
        content: dict[str, Any], status: int, headers: dict[str, str] | None = None
    ) -> Response:
        # In ASCII: an answer may quote lone surrogates of a request, which UTF-8 cannot encode.
        return Response(json.dumps(content), status, headers, "application/json")

    made = APIRouter()

    def route(path: str, method: str, how: Callable[[Mapping[str, Any]], Answer]) -> None:
        async def endpoint(request: Request) -> Response:
            return await answered(request, how, has_body=method == "POST")

        # With annotations as text FastAPI would look for the names in this module.
        endpoint.__annotations__ = {"request": Request}
        made.add_api_route(path, endpoint, methods=[method], include_in_schema=False)

    def job(body: Mapping[str, Any]) -> Answer:
        found = backend.job(body.get("job"))
        return (410, {"error": "there is no such job"}) if found is None else (200, found)

    for path in ("/", "/health"):
        route(path, "GET", lambda _: (200, backend.health()))
    route("/setup", "POST", lambda body: (200, backend.setup(body)))
    route("/predict", "POST", lambda body: (200, backend.predict(body)))
    route("/webhook", "POST", lambda body: (201, backend.webhook(body)))
    for path in ("/train", "/fit"):
        route(path, "POST", lambda body: (201, backend.train(body)))
    for method in ("GET", "POST"):
        route("/versions", method, lambda _: (200, backend.versions()))
    route("/is_training", "GET", lambda _: (200, backend.is_training()))
    route("/job_status", "POST", job)
    return made


def _check(request: Request, token: str | None) -> None:
    """Refuse requests of pages in a browser, and those without the token."""
    if "origin" in request.headers:
        raise _RefusedError(403, "requests from web pages are refused: send it from a program")
    if token is not None and not _has(request.headers.get("authorization", ""), token):
        raise _RefusedError(
            401,
            f"the token is missing or wrong: send the value of {TOKEN_VARIABLE} as password, or as "
            "'Authorization: Token ...'",
        )


def _has(header: str, token: str) -> bool:
    kind, _, given = header.strip().partition(" ")
    given = given.strip()
    if kind.lower() == "basic":
        try:
            given = base64.b64decode(given, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return False
    elif kind.lower() not in ("token", "bearer"):
        return False
    return secrets.compare_digest(given.encode(), token.encode())


async def _body(request: Request, max_body: int) -> Mapping[str, Any]:
    """The JSON object of a request.

    Raises:
        InputError: If it is none.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise _RefusedError(415, f"the request is {kind or 'of no type'}: send application/json")
    content = bytearray()
    async for part in request.stream():
        content += part
        if len(content) > max_body:
            raise _RefusedError(413, f"the request has more than {max_body} bytes: send less")
    try:
        body = parse_json(bytes(content))
    except (ValueError, RecursionError) as error:
        raise InputError("bad-usage", f"the request is not JSON ({error}): send JSON") from None
    if not isinstance(body, dict):
        raise InputError("bad-usage", "the request is not a JSON object: send one")
    return body
