"""Names of files that arrive one after another, for example on standard input."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator
from queue import Empty, Queue
from typing import IO, Any

from cign.data.media.side_by_side import PAUSE, Pause
from cign.errors import InputError

_CHUNK = 1 << 16
_MOST_WAITING = 1000  # more names stay in the pipe
_UTF8_BOM = b"\xef\xbb\xbf"
_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")


def arriving_names(stream: IO[str]) -> Iterator[str | Pause]:
    """Names from a stream as they arrive, with a `Pause` whenever the next one has not arrived.

    Names end at a line break or, if the stream holds a NUL character (``find -print0``), at NUL.
    They need not be UTF-8. A leading byte order mark and empty lines are ignored.

    Args:
        stream: A text stream. If it has a file descriptor, bytes are read from the descriptor.

    Raises:
        InputError: If the stream is UTF-16.
    """
    waiting: Queue[str | BaseException | None] = Queue(_MOST_WAITING)

    def read() -> None:
        try:
            for name in split_names(_chunks(stream)):
                waiting.put(name)
        except BaseException as error:  # raised again in the consumer
            waiting.put(error)
        waiting.put(None)

    # A daemon thread: waiting for input must not keep the program from exiting.
    threading.Thread(target=read, name="names", daemon=True).start()
    while True:
        try:
            name = waiting.get_nowait()
        except Empty:
            yield PAUSE
            name = waiting.get()
        if name is None:
            return
        if isinstance(name, BaseException):
            raise name
        yield name


def split_names(chunks: Iterator[bytes]) -> Iterator[str]:
    """Split the bytes of a stream into names, see `arriving_names`."""
    rest, ends_at, is_first = b"", b"\n", True
    for chunk in chunks:
        rest += chunk
        if is_first:
            if rest in (_UTF8_BOM[:1], _UTF8_BOM[:2]):
                continue  # the mark arrives in pieces
            if rest.startswith(_UTF16_BOMS):
                raise InputError(
                    "file-unreadable",
                    "the names on standard input are UTF-16: write them as UTF-8, one per line",
                )
            rest, is_first = rest.removeprefix(_UTF8_BOM), False
        if b"\0" in rest:
            ends_at = b"\0"
        *whole, rest = rest.split(ends_at)
        yield from _decoded(whole, ends_at)
    yield from _decoded([rest], ends_at)


def _decoded(names: list[bytes], ends_at: bytes) -> Iterator[str]:
    for name in names:
        if ends_at == b"\n":
            name = name.removesuffix(b"\r")
        if name.strip():
            yield os.fsdecode(name)


def _chunks(stream: Any) -> Iterator[bytes]:
    """The bytes of a stream as they arrive."""
    try:
        descriptor = stream.fileno()
    except (AttributeError, OSError, ValueError, io.UnsupportedOperation):
        yield os.fsencode(stream.read())
        return
    # Read the descriptor, not the stream: a waiting thread would hold the stream's lock at exit.
    while chunk := os.read(descriptor, _CHUNK):
        yield chunk
