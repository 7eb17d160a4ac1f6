"""Errors of requests: an HTTP status, a stable code, and a sentence with the remedy."""

from __future__ import annotations

import json
from typing import Literal, get_args

from cign.errors import CignError, RunError

# docs/serving.md describes each; other codes are those of docs/errors.md.
HttpCode = Literal[
    "bad-request",
    "unauthorized",
    "forbidden-host",
    "not-found",
    "method-not-allowed",
    "timeout",
    "too-large",
    "unsupported-media-type",
    "url-refused",
    "url-failed",
    "overloaded",
    "internal",
]
HTTP_CODES: tuple[str, ...] = get_args(HttpCode)

# Statuses of the codes of `cign.errors` that are not 422.
_STATUS_OF = {
    "busy": 409,
    "disk-full": 507,
    "model-changed": 409,
    "name-taken": 409,
    "unsupported": 403,
}
_CODE_OF = {
    400: "bad-request",
    401: "unauthorized",
    404: "not-found",
    405: "method-not-allowed",
    408: "timeout",
    413: "too-large",
    415: "unsupported-media-type",
    431: "too-large",
    503: "overloaded",
}


class HttpError(Exception):
    """A request cannot be answered.

    Attributes:
        status: HTTP status.
        code: Stable code.
        sentence: For people.
        headers: Additional headers of the answer.
    """

    def __init__(
        self, status: int, code: HttpCode, sentence: str, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(sentence)
        self.status, self.code, self.sentence = status, str(code), sentence
        self.headers = headers or {}


def internal_error() -> HttpError:
    """The error of a bug; the log has its traceback."""
    return HttpError(500, "internal", "internal error; the log of the server has the reason")


def status_of(error: CignError) -> int:
    """The HTTP status of an error of `cign`."""
    return _STATUS_OF.get(error.code, 500 if isinstance(error, RunError) else 422)


def code_of(status: int) -> str:
    """The code for a status that a library sets."""
    return _CODE_OF.get(status, "bad-request" if status < 500 else "internal")


def error_body(sentence: str, code: str) -> bytes:
    """The body of an answer: JSON with ``error`` and ``code``."""
    return json.dumps({"error": sentence, "code": code}, ensure_ascii=False).encode()
