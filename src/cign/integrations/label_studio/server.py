"""A server for the backend alone."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, NoReturn

from cign.integrations.label_studio.backend import Backend
from cign.integrations.label_studio.routes import router
from cign.serving.listening import address_of, interrupted_by_sigterm

_END_S = 5


def make_app(backend: Backend, *, token: str | None = None) -> Any:
    """The application: the routes of the backend, and nothing else."""
    from fastapi import FastAPI

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(router(backend, token=token))
    return app


def serve(
    backend: Backend, taken: socket.socket, *, token: str | None, ready: Callable[[str], None]
) -> NoReturn:
    """Serve until interrupted; a running job is finished.

    Args:
        backend: Answers the requests.
        taken: The bound socket.
        token: See `cign.integrations.label_studio.routes.router`.
        ready: Called with the address.

    Raises:
        KeyboardInterrupt: When the server has stopped.
    """
    import uvicorn

    config = uvicorn.Config(
        make_app(backend, token=token),
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_END_S,
    )
    server = uvicorn.Server(config)
    ready(address_of(taken))
    try:
        with interrupted_by_sigterm():
            server.run(sockets=[taken])
    finally:
        backend.close()
    raise KeyboardInterrupt
