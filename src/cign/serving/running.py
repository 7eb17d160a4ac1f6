"""Run a server until a signal, in this process or in several workers."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from cign.serving.application import MakeRouter, make_app
from cign.serving.model_service import ModelService
from cign.serving.server_state import ServerState
from cign.serving.settings import HEADER_TIMEOUT_S, MAX_HEADER_BYTES, Settings

_FOLDER = re.compile(r"cign-serve-(\d+)-")
_KEEP_ALIVE_S = 30
_in_use: set[Path] = set()  # folders of servers in this process
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def upload_folder() -> Iterator[Path]:
    """A folder for uploads, removed at the end; those of killed servers are removed now."""
    parent = Path(tempfile.gettempdir())
    for left in parent.glob("cign-serve-*"):
        match = _FOLDER.match(left.name)
        if match is not None and left not in _in_use and not _is_running(int(match[1])):
            shutil.rmtree(left, ignore_errors=True)  # fails for those of other users
    folder = Path(tempfile.mkdtemp(prefix=f"cign-serve-{os.getpid()}-"))
    _in_use.add(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _in_use.discard(folder)


def _is_running(process: int) -> bool:
    if process == os.getpid():  # an earlier process with the number of this one
        return False
    with contextlib.suppress(ProcessLookupError, OverflowError):
        with contextlib.suppress(PermissionError):
            os.kill(process, 0)
        return True
    return False


def run_server(
    service: ModelService,
    settings: Settings,
    taken: socket.socket,
    folder: Path,
    *,
    ready: Callable[[], None],
    routers: Sequence[MakeRouter] = (),
) -> bool:
    """Serve until SIGTERM or SIGINT; requests in progress are answered first.

    Args:
        service: The model.
        settings: The settings.
        taken: The bound socket.
        folder: Folder for uploads.
        ready: Called when requests are accepted.
        routers: See `cign.serving.application.make_app`.

    Returns:
        Whether SIGINT ended it.
    """
    state = ServerState(service, settings, folder)
    try:
        state.start()
        server = make_server(state, ready=ready, routers=routers)
        with recorded_signals() as seen:
            server.run(sockets=[taken])
        return signal.SIGINT in seen
    finally:
        state.close()


def make_server(
    state: ServerState, *, ready: Callable[[], None], routers: Sequence[MakeRouter] = ()
) -> Any:
    """Build the ``uvicorn.Server`` of a state.

    Args:
        state: The model and the settings.
        ready: Called when requests are accepted.
        routers: See `cign.serving.application.make_app`.
    """
    import uvicorn

    from cign.serving.protocol import GuardedProtocol

    class Protocol(GuardedProtocol):
        header_timeout_s = min(HEADER_TIMEOUT_S, state.settings.timeout_s)

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets=sockets)
            ready()

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            state.is_ready = False
            await super().shutdown(sockets=sockets)

    return Server(
        uvicorn.Config(
            make_app(state, routers),
            http=Protocol,
            ws="none",
            lifespan="off",
            log_level="critical",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=max(1, round(state.settings.timeout_s)),
            h11_max_incomplete_event_size=MAX_HEADER_BYTES,
        )
    )


@contextmanager
def recorded_signals() -> Iterator[list[int]]:
    """Record SIGTERM and SIGINT instead of ending; the server raises those it has handled again."""
    seen: list[int] = []

    def record(number: int, frame: FrameType | None) -> None:
        seen.append(number)

    before = {number: signal.signal(number, record) for number in _SIGNALS}
    try:
        yield seen
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
