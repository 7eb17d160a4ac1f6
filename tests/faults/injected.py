"""Faults of a forked child: killed, stopped, disk full, memory exhausted, clock jumps.

Files are watched through audit hooks, which Python calls before each operation and which can
forbid it; writers that are not Python's are caught where the project flushes what they wrote.
"""

from __future__ import annotations

import errno
import os
import random
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

EVENTS = ("open", "os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree")
GROWING = ("os.rename", "os.link", "os.mkdir")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC

Fault = Callable[[], None]


def kill_before(number: int, below: Path) -> Fault:
    """Kill this process before its ``number``-th operation on files below a folder."""
    return _before(number, below, lambda: os.kill(os.getpid(), signal.SIGKILL))


def kill_when(is_enough: Callable[[], bool], below: Path) -> Fault:
    """Kill this process before its first operation on files below a folder after a condition."""

    def arm() -> None:
        def hook(event: str, arguments: tuple) -> None:
            if event in EVENTS and _touches(event, arguments, below) and is_enough():
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)

    return arm


def stop_before(number: int, below: Path) -> Fault:
    """Stop this process before such an operation, until it gets SIGCONT."""
    return _before(number, below, lambda: os.kill(os.getpid(), signal.SIGSTOP))


def limit_memory_before(number: int, below: Path, num_bytes: int) -> Fault:
    """From such an operation on, let this process take only so many bytes more."""
    return _before(number, below, lambda: _limit_memory(num_bytes))


def limit_memory_after(seconds: float, num_bytes: int) -> Fault:
    """After a time, let this process take only so many bytes more."""

    def arm() -> None:
        signal.signal(signal.SIGALRM, lambda *_: _limit_memory(num_bytes))
        signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-3))

    return arm


def _limit_memory(num_bytes: int) -> None:
    """Limit the address space to what is in use and a number of bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + num_bytes
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _before(number: int, below: Path, act: Callable[[], None]) -> Fault:
    """Act before the ``number``-th operation of this process on files below a folder."""

    def arm() -> None:
        left = [number]

        def hook(event: str, arguments: tuple) -> None:
            if event in EVENTS and _touches(event, arguments, below):
                left[0] -= 1
                if left[0] == 0:
                    act()

        sys.addaudithook(hook)

    return arm


def count_operations(below: Path, counter: Path) -> Fault:
    """Write a byte into a file for each operation that `kill_before` would count."""

    def arm() -> None:
        seen = os.open(counter, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)

        def hook(event: str, arguments: tuple) -> None:
            if event in EVENTS and _touches(event, arguments, below):
                os.write(seen, b".")

        sys.addaudithook(hook)

    return arm


def fill_disk_before(number: int, below: Path) -> Fault:
    """Let the ``number``-th operation that needs space, and all later ones, find none.

    Opening files for writing, making folders and links, writing rows and journal lines, taking
    space in advance, and flushing: that is where what other writers wrote is cut in half.
    """
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def arm() -> None:
        left = [number]

        def is_full() -> bool:
            left[0] -= 1
            return left[0] <= 0

        def hook(event: str, arguments: tuple) -> None:
            if event in GROWING and _touches(event, arguments, below) and is_full():
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(arguments[0]))
            if event == "open" and _touches(event, arguments, below) and is_full():
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(arguments[0]))

        fsync, pwrite, fallocate = os.fsync, os.pwrite, os.posix_fallocate

        def half_fsync(descriptor: int) -> None:
            status = os.fstat(descriptor)
            if not os.path.isdir(f"/proc/self/fd/{descriptor}") and is_full():  # noqa: PTH112
                os.ftruncate(descriptor, status.st_size // 2)
                raise full
            fsync(descriptor)

        def half_pwrite(descriptor: int, view: memoryview, position: int) -> int:
            if is_full():
                pwrite(descriptor, view[: len(view) // 2], position)
                raise full
            return pwrite(descriptor, view, position)

        def no_fallocate(descriptor: int, start: int, length: int) -> None:
            if is_full():
                raise full
            fallocate(descriptor, start, length)

        from cign.data.prepare.journal import Journal

        def half_append(self: Journal, value: dict) -> None:
            if is_full():
                self._file.write(b'{"row": 1, "cond')
                self._file.flush()
                raise full
            append(self, value)

        append = Journal._append
        Journal._append = half_append  # type: ignore[method-assign]
        os.fsync, os.pwrite, os.posix_fallocate = half_fsync, half_pwrite, no_fallocate
        sys.addaudithook(hook)

    return arm


def jump_clock(seed: int) -> Fault:
    """Let the clock of the day jump by up to ten years either way each time it is read."""

    def arm() -> None:
        draw, now = random.Random(seed), time.time

        def jumping() -> float:
            return now() + draw.uniform(-3e8, 3e8)

        time.time = jumping
        time.time_ns = lambda: int(jumping() * 1e9)

    return arm


def _touches(event: str, arguments: tuple, below: Path) -> bool:
    """Whether an event concerns a file below a folder; opening counts if it is for writing."""
    if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & WRITING):
        return False
    paths = [os.fspath(a) for a in arguments if isinstance(a, str | bytes | os.PathLike)]
    return any(str(below) in (p.decode() if isinstance(p, bytes) else p) for p in paths[:2])
