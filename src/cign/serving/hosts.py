"""Hosts that a server may fetch files from, as options name them."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from cign.errors import InputError

PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")


@dataclass(frozen=True)
class AllowedHost:
    """A host that files may be fetched from.

    Attributes:
        host: Name in lower case, or an address.
        port: The port; None for the usual one of the scheme.
    """

    host: str
    port: int | None

    @property
    def is_address(self) -> bool:
        """Whether it is an address, which may be private: it was named on purpose."""
        return as_address(self.host) is not None

    def covers(self, scheme: str, host: str, port: int) -> bool:
        """Whether a URL with this scheme, host and port may be fetched."""
        return self.host == host and (PORTS[scheme] if self.port is None else self.port) == port


def allowed_host(text: str, option: str = "--allow-url") -> AllowedHost:
    """Parse ``HOST`` or ``HOST:PORT``.

    Args:
        text: The text.
        option: The option that it was given with, for messages.

    Raises:
        InputError: If it is neither.
    """
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or not _HOST.fullmatch(text):
        raise InputError(
            "bad-value",
            f"{option} {text!r} is not a host: give a name or an address, with or without "
            "a port, for example media.example.org or 10.0.0.5:9000",
        )
    return AllowedHost(host, port)


def as_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Parse an IP address; None if it is none."""
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
