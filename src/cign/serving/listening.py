"""Addresses that servers listen on, and the signal that ends them."""

from __future__ import annotations

import ipaddress
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from cign.errors import InputError


def is_local(host: str) -> bool:
    """Whether a host is a loopback address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@contextmanager
def listen(host: str, port: int) -> Iterator[socket.socket]:
    """Bind a port, before any large module is loaded.

    Raises:
        InputError: If the address is invalid or does not belong to this machine, or the port is in
            use.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        taken = socket.create_server(address[:2], family=family)
        # Connections inherit it. asyncio sets it only for sockets that name their protocol, and
        # without it the body of an answer waits 40 ms for the acknowledgement of its head.
        taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError as error:
        raise InputError(
            "busy",
            f"cannot listen at {host} port {port} ({error.strerror}): choose another with --host "
            "and --port, or use --port 0 for any free port",
        ) from None
    except UnicodeError as error:  # of the IDNA encoding
        raise InputError(
            "bad-value",
            f"--host {host!r} is not a valid host name ({error}): give a name or an address of "
            "this machine",
        ) from None
    with taken:
        yield taken


def address_of(taken: socket.socket) -> str:
    """The URL of a bound socket."""
    host, port = taken.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


@contextmanager
def interrupted_by_sigterm() -> Iterator[None]:
    """Raise KeyboardInterrupt at SIGTERM, as Python does at SIGINT."""
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
