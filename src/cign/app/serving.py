"""Local web server of the page: it serves only files in its folder and contacts no other host."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from cign.app.labelling import Labelling
from cign.app.service import Service
from cign.serving.listening import address_of, interrupted_by_sigterm

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Content that the browser may load: the page's own files and embedded images. Gradio compiles its
# templates in the browser, hence unsafe-eval.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self' data: blob:; worker-src 'self' blob:; object-src 'none'; "
    "base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)
# Gradio can fetch URLs on behalf of a browser; this page does not need it.
_FETCHING = ("/proxy=", "file=http:", "file=https:", "file=ftp:")
_ENVIRONMENT = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_SHARE": "False",
    "GRADIO_MCP_SERVER": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
_END_S = 2


class Guard:
    """ASGI wrapper that adds the headers above and rejects requests that fetch URLs.

    After a rejection the connection is closed, so that the rest of a large upload is not received.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
                if message["status"] >= 400:
                    message["headers"].append((b"connection", b"close"))
            await send(message)

        if fetches(scope["path"]):
            await guarded({"type": "http.response.start", "status": 403, "headers": []})
            await guarded({"type": "http.response.body", "body": b"This page fetches nothing."})
            return
        await self._app(scope, receive, guarded)


def fetches(path: str) -> bool:
    """Whether a request asks the server to fetch a URL."""
    return any(mark in path.lower() for mark in _FETCHING)


def serve(
    service: Service,
    taken: socket.socket,
    *,
    max_upload: int,
    ready: Callable[[str], None],
    labelling: Labelling | None = None,
) -> NoReturn:
    """Serve until interrupted; then remove all uploads and images.

    Args:
        service: The model.
        taken: The bound socket, see `cign.serving.listening.listen`.
        max_upload: Largest accepted file, in bytes.
        ready: Called with the URL of the page.
        labelling: Labels and clips for the tabs Label and Check.

    Raises:
        KeyboardInterrupt: When the server has stopped.
    """
    with tempfile.TemporaryDirectory(prefix="cign-app-", ignore_cleanup_errors=True) as folder:
        root = Path(folder).resolve()
        # Set before Gradio is imported, which reads these variables.
        os.environ.update(_ENVIRONMENT, GRADIO_TEMP_DIR=str(root))
        server = make_server(service, root, max_upload=max_upload, labelling=labelling)
        service.warm_up()
        ready(address_of(taken))
        try:
            with interrupted_by_sigterm():
                server.run(sockets=[taken])
        finally:
            _end(root)
    raise KeyboardInterrupt


def _end(root: Path) -> None:
    """Remove the folder, repeatedly: a thread that is drawing may still write an image."""
    for _ in range(10):
        shutil.rmtree(root, ignore_errors=True)
        time.sleep(_END_S / 10)


def make_server(
    service: Service, root: Path, *, max_upload: int, labelling: Labelling | None = None
) -> Any:
    """Build the server.

    Args:
        service: The model.
        root: Folder for uploads and images.
        max_upload: Largest accepted file, in bytes.
        labelling: See `serve`.
    """
    import uvicorn
    from fastapi import FastAPI
    from gradio import mount_gradio_app

    from cign.app.label_cards import SCRIPT
    from cign.app.look import PAGE_STYLE, STYLE, make_theme
    from cign.app.page import build_page

    page = build_page(service, root, max_upload=max_upload, labelling=labelling)
    # Without this, Gradio accepts paths in a request without checking their location.
    page.has_launched = True
    app = mount_gradio_app(
        FastAPI(docs_url=None, redoc_url=None, openapi_url=None),
        page,
        path="/",
        footer_links=[],
        run_history=False,
        allowed_paths=[],
        show_error=True,
        max_file_size=max_upload,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=make_theme(),
        css=STYLE.read_text(encoding="utf-8"),
        head=f"<style>{PAGE_STYLE.read_text(encoding='utf-8')}</style>{SCRIPT}",
    )
    return uvicorn.Server(
        uvicorn.Config(
            Guard(app),
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_END_S,
        )
    )
