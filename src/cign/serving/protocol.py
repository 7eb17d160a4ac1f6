"""The connections of a server: limits on their number, on slow clients and on headers."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from cign.serving.errors import code_of, error_body
from cign.serving.settings import HEADER_TIMEOUT_S, MAX_CONNECTIONS

_SENTENCES = {
    400: "this is not a valid HTTP/1.1 request: check the client",
    408: "the headers of the request did not arrive in time: send them again",
    431: "the headers of the request are too long: send fewer or shorter ones",
    503: "too many connections: try again in a second",
}


class GuardedProtocol(H11Protocol):
    """A connection that is closed when its client is slow, with an answer where possible.

    Attributes:
        header_timeout_s: Time for the headers of a request, and for an answer that the client does
            not read, in seconds.
        max_connections: Connections of a worker.
    """

    header_timeout_s = HEADER_TIMEOUT_S
    max_connections = MAX_CONNECTIONS

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._header_timer: asyncio.TimerHandle | None = None
        self._reader_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start to wait for headers, or refuse the connection."""
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            self._refuse(503)
            return
        self._header_timer = self.loop.call_later(self.header_timeout_s, self._refuse, 408)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all timers."""
        self._stop_header_timer()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Handle data; the time for headers runs while there is no complete request."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_header_timer()
        elif self._header_timer is None and not self.transport.is_closing():
            self._header_timer = self.loop.call_later(self.header_timeout_s, self._refuse, 408)

    def on_response_complete(self) -> None:
        """Let the keep-alive timer run until further data arrive."""
        self._stop_header_timer()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Give a client that does not read its answer a limited time."""
        super().pause_writing()
        if self._reader_timer is None:
            abort = self.transport.abort
            self._reader_timer = self.loop.call_later(self.header_timeout_s, abort)

    def resume_writing(self) -> None:
        """The client reads."""
        if self._reader_timer is not None:
            self._reader_timer.cancel()
            self._reader_timer = None
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Answer an invalid request in JSON, with the status that h11 suggests."""
        error = sys.exc_info()[1]
        self._refuse(getattr(error, "error_status_hint", 400))

    def _stop_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _refuse(self, status: int) -> None:
        """Answer without the application, if no other answer has begun, and close."""
        self._stop_header_timer()
        if self.transport.is_closing():
            return
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            status = status if status in _SENTENCES else 400
            body = error_body(_SENTENCES[status], code_of(status))
            headers = [
                (b"content-type", b"application/json"),
                (b"content-length", b"%d" % len(body)),
                (b"connection", b"close"),
            ]
            if status == 503:
                headers.append((b"retry-after", b"1"))
            for event in (
                h11.Response(status_code=status, headers=headers),
                h11.Data(data=body),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
