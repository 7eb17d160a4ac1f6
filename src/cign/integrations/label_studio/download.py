"""Downloads from the server of Label Studio and from other allowed hosts, of limited size."""

from __future__ import annotations

import json
import time
from base64 import urlsafe_b64decode
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urljoin, urlsplit

from cign.errors import InputError
from cign.serving.hosts import PORTS, AllowedHost
from cign.utils.files import replacing

if TYPE_CHECKING:
    import httpx

KEY_VARIABLE = "LABEL_STUDIO_API_KEY"
_MAX_REDIRECTS = 5
_TIMEOUT_S = 30.0
_MOST_S = 600.0
_MAX_SHOWN = 160


def check_server(text: str) -> str:
    """Check the address of a Label Studio server; returns it without a slash at the end.

    Raises:
        InputError: If it is no http or https address.
    """
    split = split_url(text, what="--label-studio")
    if _origin(split) is None or split.query or split.fragment or split.username:
        raise InputError(
            "bad-value",
            f"--label-studio {text!r} is not the address of a server: give one such as "
            "http://localhost:8080",
        )
    return text.rstrip("/")


def split_url(text: str, base: str = "", *, what: str = "address") -> SplitResult:
    """Split an address, which may be relative to another.

    Args:
        text: The address.
        base: The other address.
        what: What the address is, for messages.

    Raises:
        InputError: If `urllib.parse` refuses it, for example for ``http://[x``.
    """
    try:
        return urlsplit(urljoin(base, text))
    except ValueError as error:
        shown = repr(text.partition("?")[0][:_MAX_SHOWN])  # the query may hold a key
        raise InputError("bad-value", f"{what} {shown} is invalid ({error}): correct it") from None


class Downloads:
    """Downloads files.

    Args:
        server: Address of the Label Studio server, to which alone the key is sent; None without.
        hosts: Other allowed hosts.
        max_bytes: Largest accepted file.
        key: Label Studio's API key: a legacy token or a personal access token.
    """

    def __init__(
        self, *, server: str | None, hosts: Iterable[AllowedHost], max_bytes: int, key: str | None
    ) -> None:
        self._server, self._key, self._max_bytes = server, key, max_bytes
        self._hosts = tuple(hosts)
        self._origin = None if server is None else _origin(split_url(server))
        self._access: tuple[str, float] | None = None

    def allows(self, url: str) -> bool:
        """Whether a reference may be downloaded.

        Raises:
            InputError: If it is not a valid address.
        """
        if url.startswith("/") and not url.startswith("//"):
            return self._server is not None
        origin = _origin(split_url(url))
        if origin is None:
            return False
        if origin == self._origin:
            return True
        return any(one.covers(*origin) for one in self._hosts)

    def fetch(self, url: str, target: Path) -> Path:
        """Download a file.

        Args:
            url: Its address; a path is one of the Label Studio server.
            target: Where to write it; its folder is created.

        Returns:
            The target.

        Raises:
            InputError: If the host is not allowed, does not answer, refuses, or the file is too
                large.
        """
        import httpx

        if url.startswith("/") and self._server is not None:
            url = self._server + url
        end_s = time.monotonic() + _MOST_S
        try:
            with httpx.Client(timeout=_TIMEOUT_S, trust_env=False) as client:
                for _ in range(_MAX_REDIRECTS):
                    if not self.allows(url):
                        raise InputError(
                            "unsupported",
                            f"{_named(url)} is at a host that is not allowed: allow it with "
                            "--allow-host",
                        )
                    headers = self._headers(client, url)
                    with client.stream("GET", url, headers=headers) as answer:
                        if answer.is_redirect:
                            url = split_url(answer.headers.get("location", ""), url).geturl()
                            continue
                        self._check(answer, url)
                        self._write(answer, target, url, end_s)
                        return target
        except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
            raise InputError(
                "file-missing",
                f"{_named(url)} cannot be downloaded ({error or type(error).__name__}): check the "
                "server and the address",
            ) from None
        raise InputError("file-missing", f"{_named(url)} redirects too often: check the address")

    def _check(self, answer: httpx.Response, url: str) -> None:
        if answer.status_code in (401, 403):
            hint = f"set {KEY_VARIABLE} to an API key of a user who may see the project"
            raise InputError(
                "file-missing",
                f"{_named(url)} cannot be downloaded (status {answer.status_code}): {hint}",
            )
        if answer.status_code != 200:
            raise InputError(
                "file-missing",
                f"{_named(url)} cannot be downloaded (status {answer.status_code}): check the task",
            )

    def _write(self, answer: httpx.Response, target: Path, url: str, end_s: float) -> None:
        size = 0
        with replacing(target, flush=False) as temporary, temporary.open("wb") as file:
            for chunk in answer.iter_bytes():
                size += len(chunk)
                if size > self._max_bytes:
                    raise InputError(
                        "bad-value",
                        f"{_named(url)} has more than {self._max_bytes} bytes: allow larger files "
                        "with --max-download",
                    )
                if time.monotonic() > end_s:
                    raise InputError(
                        "file-missing",
                        f"{_named(url)} needs more than {_MOST_S:.0f} s to download: put the file "
                        "below a --media folder",
                    )
                file.write(chunk)

    def _headers(self, client: httpx.Client, url: str) -> dict[str, str]:
        """The key, for the server of Label Studio alone."""
        if not self._key or self._origin is None or _origin(split_url(url)) != self._origin:
            return {}
        if _token_type(self._key) == "refresh":
            return {"Authorization": f"Bearer {self._access_token(client)}"}
        kind = "Token" if _token_type(self._key) is None else "Bearer"
        return {"Authorization": f"{kind} {self._key}"}

    def _access_token(self, client: httpx.Client) -> str:
        """The short-lived token that Label Studio gives for a personal access token."""
        if self._access is not None and time.monotonic() < self._access[1]:
            return self._access[0]
        address = f"{self._server}/api/token/refresh"
        answer = client.post(address, json={"refresh": self._key})
        try:
            token = answer.json().get("access") if answer.status_code == 200 else None
        except (ValueError, AttributeError):  # another server
            token = None
        if not isinstance(token, str):
            raise InputError(
                "file-missing",
                f"{_named(address)} refuses the key in {KEY_VARIABLE} (status "
                f"{answer.status_code}): create a new access token in Label Studio",
            )
        self._access = (token, time.monotonic() + 60)
        return token


def _origin(split: SplitResult) -> tuple[str, str, int] | None:
    """Scheme, host and port of an address; None if it is no http or https address."""
    scheme = split.scheme.lower()
    try:
        host, port = split.hostname, split.port
    except ValueError:  # a port that is no number
        return None
    if scheme not in PORTS or not host:
        return None
    return scheme, host.lower(), port or PORTS[scheme]


def _token_type(key: str) -> str | None:
    """The ``token_type`` of a JSON web token; None for a legacy token."""
    parts = key.split(".")
    if len(parts) != 3:
        return None
    try:
        content = json.loads(urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return str(content.get("token_type", "access"))
    except (ValueError, AttributeError):
        return None


def _named(url: str) -> str:
    """An address for messages, without its query, which may hold a key."""
    split = split_url(url)
    shown = f"{split.scheme}://{split.netloc.rpartition('@')[2]}{split.path}"
    return repr(shown[:_MAX_SHOWN])
