"""Fetch a media file from a web server into a temporary file."""

from __future__ import annotations

import contextlib
import http.client
import tempfile
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from cign.data.media.addresses import Address
from cign.data.media.container import MediaError

_TIMEOUT_S = 30.0
_CHUNK = 1 << 18
_TRIES = 3


@contextlib.contextmanager
def downloaded(address: Address, *, timeout_s: float = _TIMEOUT_S) -> Iterator[Path]:
    """Download a file; it is deleted at the end of the context.

    A broken connection is continued where it broke off, if the server can do that.

    Args:
        address: URL of scheme ``http`` or ``https``. Certificates are verified.
        timeout_s: Seconds without data after which it fails.

    Raises:
        MediaError: If the server cannot be reached, refuses it, or does not state its length.
    """
    suffix = Path(urlsplit(address.text).path).suffix[:10]
    with tempfile.NamedTemporaryFile(prefix="cign-", suffix=suffix) as file:
        _fetch(address, file, timeout_s)
        yield Path(file.name)


def _fetch(address: Address, file: Any, timeout_s: float) -> None:
    num_bytes, total = 0, None
    for tried in range(1, _TRIES + 1):
        try:
            with urllib.request.urlopen(_request(address, num_bytes), timeout=timeout_s) as answer:
                if num_bytes and answer.status != http.client.PARTIAL_CONTENT:
                    num_bytes = 0
                    file.seek(0)
                    file.truncate()
                length = answer.headers.get("Content-Length")
                if length is None:
                    raise MediaError(
                        "unreadable",
                        "the server does not state its length: it is a stream, not a file",
                    )
                total = num_bytes + int(length)
                while chunk := answer.read(_CHUNK):
                    file.write(chunk)
                    num_bytes += len(chunk)
        except urllib.error.HTTPError as error:
            raise MediaError(
                "unreadable", f"the server answers {error.code}, {error.reason}"
            ) from None
        except http.client.IncompleteRead as error:
            file.write(error.partial)
            num_bytes += len(error.partial)
        except (OSError, http.client.HTTPException, ValueError) as error:
            if total is None or tried == _TRIES:
                raise MediaError("unreadable", f"it cannot be fetched: {_words(error)}") from None
        if num_bytes == total:
            file.flush()
            return
    raise MediaError(
        "damaged", f"the connection broke off {_TRIES} times, after {num_bytes} of {total} bytes"
    )


def _request(address: Address, start: int) -> urllib.request.Request:
    parts = urlsplit(address.text)
    bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    request = urllib.request.Request(bare, headers={"User-Agent": "cign"})
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        # Not passed on to another server by a redirection.
        request.add_unredirected_header(
            "Authorization", f"Basic {b64encode(login.encode()).decode()}"
        )
    if start:
        request.add_header("Range", f"bytes={start}-")
    return request


def _words(error: BaseException) -> str:
    """The reason without the name of a class and without error numbers."""
    cause = getattr(error, "reason", error)
    if isinstance(cause, TimeoutError):
        return "no data in time"
    return str(getattr(cause, "strerror", None) or cause) or type(cause).__name__
