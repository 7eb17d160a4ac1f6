"""Fetch a file from an allowed host, without being led to another one.

A request names a URL, but the server may reach machines that the client may not. Therefore only
hosts of a list are contacted; a name must resolve to public addresses, and the connection goes to
the address that was checked. Redirects are checked in the same way.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import SplitResult, urljoin, urlsplit

from cign.serving.errors import HttpError
from cign.serving.hosts import PORTS, AllowedHost, as_address
from cign.serving.uploads import Upload, new_file, shown_name, suffix_of

_REDIRECTS = (301, 302, 303, 307, 308)
_MAX_REDIRECTS = 3
_PIECE = 2**16
_MAX_URL = 2000


def fetch(
    url: str, allowed: Sequence[AllowedHost], folder: Path, *, max_bytes: int, timeout_s: float
) -> Upload:
    """Fetch a file.

    Args:
        url: Its address, http or https.
        allowed: The hosts that may be contacted.
        folder: Folder for the file.
        max_bytes: Largest accepted size.
        timeout_s: Time for everything, in seconds.

    Raises:
        HttpError: If the URL is not allowed, or the file cannot be fetched.
    """
    until = time.monotonic() + timeout_s
    try:
        for _ in range(_MAX_REDIRECTS + 1):
            parts = _checked(url, allowed)
            connection = _connect(parts, allowed, until)
            try:
                target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
                headers = {"Accept-Encoding": "identity", "User-Agent": "cign"}
                connection.request("GET", target, headers=headers)
                answer = connection.getresponse()
                if answer.status in _REDIRECTS:
                    url = urljoin(url, answer.headers.get("Location", ""))
                    continue
                if answer.status != 200:
                    raise _failed(f"{parts.hostname} answered with status {answer.status}")
                name = shown_name(parts.path)
                path = new_file(folder, suffix_of(name))
                return Upload(name, _received(connection, answer, path, max_bytes, until))
            finally:
                connection.close()
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise _failed(" ".join(str(reason).split())[:200]) from None
    raise _failed(f"more than {_MAX_REDIRECTS} redirects")


def _checked(url: str, allowed: Sequence[AllowedHost]) -> SplitResult:
    """The parts of a URL that may be fetched."""
    if len(url) > _MAX_URL or not url.isascii() or not url.isprintable() or " " in url:
        raise _refused(f"it must have at most {_MAX_URL} printable ASCII characters without blanks")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _refused(str(error)) from None
    if parts.scheme not in PORTS:
        raise _refused(f"the scheme {parts.scheme[:20]!r} is neither http nor https")
    if parts.username is not None or parts.password is not None:
        raise _refused("it contains a user name")
    host = (parts.hostname or "").rstrip(".")
    port = port or PORTS[parts.scheme]
    if any(one.covers(parts.scheme, host, port) for one in allowed):
        return parts
    raise _refused(
        f"host {host[:100]}:{port} is not allowed; `cign serve --allow-url HOST` allows one"
    )


def _connect(
    parts: SplitResult, allowed: Sequence[AllowedHost], until: float
) -> http.client.HTTPConnection:
    """Connect to an address that was checked; the name is not resolved again."""
    host, port = str(parts.hostname), parts.port or PORTS[parts.scheme]
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(one[4][0]) for one in found]
    if not any(one.is_address and one.host == host for one in allowed):
        for address in addresses:
            if not is_public(address):
                raise _refused(
                    f"{host} resolves to an address that is not public; to allow one, "
                    "name the address itself with --allow-url"
                )
    connection = http.client.HTTPConnection(host, port)
    connection.sock = raw = _connected(addresses, port, until)
    try:
        raw.settimeout(_left(until))
        if parts.scheme == "https":
            connection.sock = ssl.create_default_context().wrap_socket(raw, server_hostname=host)
    except BaseException:
        raw.close()
        raise
    return connection


def _connected(addresses: Sequence[str], port: int, until: float) -> socket.socket:
    """Connect to the first address that accepts; each gets an equal share of the time left."""
    failure = OSError("the host has no address")
    for number, address in enumerate(addresses):
        share_s = _left(until) / (len(addresses) - number)
        try:
            return socket.create_connection((address, port), timeout=share_s)
        except OSError as error:
            failure = error
    raise failure


def _received(
    connection: http.client.HTTPConnection,
    answer: http.client.HTTPResponse,
    path: Path,
    max_bytes: int,
    until: float,
) -> Path:
    """Write the body to a file; nothing remains of one that is too large or late."""
    sock = connection.sock
    try:
        with path.open("xb") as file:
            while True:
                if sock is not None:
                    sock.settimeout(_left(until))
                piece = answer.read1(_PIECE)
                if not piece:
                    break
                if file.tell() + len(piece) > max_bytes:
                    raise HttpError(
                        *(413, "too-large"),
                        f"the file behind the URL has more than {max_bytes:,} bytes: name a "
                        "smaller one",
                    )
                file.write(piece)
        if answer.length:
            raise _failed(f"the answer broke off, {answer.length:,} bytes before its end")
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path


def is_public(address: str) -> bool:
    """Whether an address belongs to the internet: not private, loopback, link-local or the like."""
    found = as_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour
        if inner is not None:
            return inner.is_global and not inner.is_multicast
        if found in ipaddress.ip_network("64:ff9b::/96"):  # translated to the last 32 bits
            return is_public(str(ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)))
    return found is not None and found.is_global and not found.is_multicast


def _left(until: float) -> float:
    left_s = until - time.monotonic()
    if left_s <= 0:
        raise _failed("it took too long")
    return left_s


def _refused(reason: str) -> HttpError:
    return HttpError(403, "url-refused", f"this URL is not fetched: {reason}")


def _failed(reason: str) -> HttpError:
    return HttpError(502, "url-failed", f"the file cannot be fetched ({reason}): check the URL")
