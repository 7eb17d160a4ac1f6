"""Limits around all routes: token, host, size, time and number of requests."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import sys
import time
import traceback
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cign.serving.errors import HttpError, error_body, internal_error
from cign.serving.listening import is_local
from cign.serving.metrics import Metrics
from cign.serving.settings import FORM_BYTES, Settings

# Health checks of a load balancer carry no token.
_OPEN = ("/health", "/health/live", "/health/ready")
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'"),
)
_TEACHING = ("/classes/", "/corrections", "/undo")
_CLIENT_LEFT = 499  # as some proxies count it; no client sees it
_DRAIN_BYTES, _DRAIN_S = 64 * 2**20, 5.0


class Guard:
    """ASGI wrapper that applies the settings to every request, and counts it.

    Args:
        app: The application.
        settings: The limits.
        metrics: Receives requests, latencies and the length of the queue.
    """

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics) -> None:
        self._app, self._settings, self._metrics = app, settings, metrics
        self._token = (settings.token or "").encode()
        self._num_busy = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        exchange = _Exchange(receive, send, self._settings.max_upload + FORM_BYTES)
        limit = asyncio.timeout(self._settings.timeout_s)
        try:
            async with limit:
                await self._answer(scope, exchange, limit)
        except HttpError as error:
            await exchange.refuse(error)
        except Exception as error:
            if exchange.is_gone:
                return  # the client has left; nothing can be sent
            if limit.expired():
                await exchange.refuse(self._late(exchange))
                return
            traceback.print_exception(error, file=sys.stderr)
            await exchange.refuse(internal_error())
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.requests.labels(route, str(exchange.status or _CLIENT_LEFT)).inc()
            self._metrics.latency.labels(route).observe(time.perf_counter() - began)

    async def _answer(self, scope: Scope, exchange: _Exchange, limit: asyncio.Timeout) -> None:
        headers = dict(scope["headers"])
        self._check_host(headers)
        self._check_token(scope["path"], headers)
        exchange.check_length(headers)
        if scope["method"] != "POST":
            await self._app(scope, exchange.receive, exchange.send)
            return
        if self._num_busy >= self._settings.max_queue:
            sentence = f"{self._num_busy} requests are being answered: try again in a second"
            raise HttpError(503, "overloaded", sentence, {"Retry-After": "1"})
        self._num_busy += 1
        self._metrics.queue.inc()
        try:
            # A change of the model is not interrupted, so only its upload has a limit.
            exchange.when_complete = (
                (lambda: limit.reschedule(None)) if _teaches(scope["path"]) else None
            )
            await self._app(scope, exchange.receive, exchange.send)
        finally:
            self._num_busy -= 1
            self._metrics.queue.dec()

    def _check_host(self, headers: dict[bytes, bytes]) -> None:
        """Without a token, refuse pages of other origins whose name resolves to this machine."""
        if self._token:
            return
        name = headers.get(b"host", b"").decode("latin-1").rpartition("@")[2]
        host = name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]
        if not is_local(host):
            raise HttpError(
                *(403, "forbidden-host"),
                "without a token this server answers only requests to localhost or 127.0.0.1: "
                "use that address, or start it with a token",
            )

    def _check_token(self, path: str, headers: dict[bytes, bytes]) -> None:
        if not self._token or path in _OPEN:
            return
        scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
        # The comparison takes the same time wherever the texts differ.
        is_same = hmac.compare_digest(given.strip(), self._token)
        if scheme.lower() != b"bearer" or not is_same:
            raise HttpError(
                *(401, "unauthorized"),
                "the token is missing or wrong: send the header `Authorization: Bearer TOKEN`",
                {"WWW-Authenticate": "Bearer"},
            )

    def _late(self, exchange: _Exchange) -> HttpError:
        limit = f"{self._settings.timeout_s:g} s"
        if exchange.is_complete:
            sentence = f"no answer within {limit}: send a shorter clip, or try again later"
            return HttpError(504, "timeout", sentence)
        return HttpError(408, "timeout", f"the body did not arrive within {limit}: send it again")


def _teaches(path: str) -> bool:
    return path.startswith(_TEACHING)


class _Exchange:
    """One request and its answer: counts what arrives, and can refuse at any time before it."""

    def __init__(self, receive: Receive, send: Send, max_bytes: int) -> None:
        self._receive, self._send, self._max_bytes = receive, send, max_bytes
        self._num_bytes = 0
        self._expects_continue = False
        self.is_complete = self.is_gone = False
        self.when_complete: Callable[[], None] | None = None
        self.status = 0

    def check_length(self, headers: dict[bytes, bytes]) -> None:
        """Refuse a body whose stated length is too large, before any of it is received."""
        self._expects_continue = b"expect" in headers
        self.is_complete = (
            b"content-length" not in headers and b"transfer-encoding" not in headers
        ) or headers.get(b"content-length") == b"0"
        stated = headers.get(b"content-length", b"0")
        if stated.isdigit() and int(stated[:20]) > self._max_bytes:
            raise self._too_large()

    async def receive(self) -> Message:
        """Receive a piece of the body."""
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self.is_gone = True
            return message
        self._num_bytes += len(message.get("body", b""))
        if self._num_bytes > self._max_bytes:
            raise self._too_large()
        if not message.get("more_body", False):
            self.is_complete = True
            if self.when_complete is not None:
                self.when_complete()
        return message

    async def send(self, message: Message) -> None:
        """Send a part of the answer."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message.get("headers", ()), *_HEADERS]
            if not self.is_complete:
                message["headers"].append((b"connection", b"close"))
        elif self.status and not message.get("more_body", False) and not self.is_complete:
            # Closing now would discard the answer if the client is still sending.
            await self._send({**message, "more_body": True})
            await self._drain()
            message = {"type": "http.response.body", "body": b""}
        await self._send(message)

    async def refuse(self, error: HttpError) -> None:
        """Answer with an error, unless an answer has begun."""
        if self.is_gone or self.status:
            return  # the server closes a connection whose answer is incomplete
        body = error_body(error.sentence, error.code)
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            *((name.lower().encode(), value.encode()) for name, value in error.headers.items()),
        ]
        await self.send({"type": "http.response.start", "status": error.status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})

    async def _drain(self) -> None:
        """Receive and discard the rest of the body, within limits."""
        if self._expects_continue and not self._num_bytes:
            return  # the client waits for permission to send, and will not
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_S):
                left = _DRAIN_BYTES
                while left > 0:
                    message = await self._receive()
                    left -= len(message.get("body", b""))
                    if message["type"] != "http.request" or not message.get("more_body", False):
                        return

    def _too_large(self) -> HttpError:
        most = self._max_bytes - FORM_BYTES
        return HttpError(
            *(413, "too-large"),
            f"the body has more than {most:,} bytes: send a smaller file, or start the server with "
            "a larger --max-upload",
        )
