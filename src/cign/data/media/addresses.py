"""Addresses of inputs that are not local files: URLs and capture devices.

This module opens nothing and imports neither PyAV nor torch.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from cign.errors import InputError

_SCHEME = re.compile(r"^([a-zA-Z][a-zA-Z0-9+.-]*)://")
_DEVICE = "device:"
FILE_SCHEMES = ("http", "https")
STREAM_SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "rtp", "srt", "tcp", "udp")
# Input devices of FFmpeg, by the names of its formats.
DEVICE_FORMATS = (
    *("v4l2", "video4linux2", "alsa", "pulse", "oss", "jack", "sndio", "avfoundation", "dshow"),
    *("gdigrab", "x11grab", "kmsgrab", "fbdev", "decklink", "openal", "lavfi"),
)
_NEXT_PART = re.compile(rf"\+(?=(?:{'|'.join(DEVICE_FORMATS)}):)")
_PLAYLISTS = (".m3u8", ".m3u")


@dataclass(frozen=True)
class Device:
    """One capture device.

    Attributes:
        format: Name of its FFmpeg format, for example ``v4l2``.
        name: Its name in this format, for example ``/dev/video0``.
    """

    format: str
    name: str


@dataclass(frozen=True)
class Address:
    """A URL, or one or two capture devices.

    Attributes:
        text: As given; it may contain a password.
        shown: The same without the password, for messages and results.
        devices: The devices; empty for a URL.
    """

    text: str
    shown: str
    devices: tuple[Device, ...] = ()

    @property
    def scheme(self) -> str:
        """Scheme of a URL in lower case; ``device`` for devices."""
        found = _SCHEME.match(self.text)
        return "device" if self.devices or found is None else found[1].lower()

    @property
    def may_be_file(self) -> bool:
        """Whether it may be a file on a web server: HTTP, but not a playlist."""
        path = urlsplit(self.text).path.lower() if not self.devices else ""
        return self.scheme in FILE_SCHEMES and not path.endswith(_PLAYLISTS)

    @property
    def is_hls(self) -> bool:
        """Whether it is taken for HLS, whose playlists are named ``.m3u8``."""
        return not self.devices and "m3u8" in self.text.lower()

    @property
    def host(self) -> str | None:
        """Host of a URL."""
        return None if self.devices else urlsplit(self.text).hostname


def is_address(name: str | os.PathLike[str]) -> bool:
    """Return whether a name is a URL or a device, and not that of an existing file."""
    text = os.fspath(name)
    looks = _SCHEME.match(text) is not None or text.startswith(_DEVICE)
    return looks and not os.path.lexists(text)


def parse_address(text: str) -> Address:
    """Parse a URL, or ``device:FORMAT:NAME``, or ``device:FORMAT:NAME+FORMAT:NAME``.

    Raises:
        InputError: If the scheme or the form is not supported.
    """
    if text.startswith(_DEVICE):
        return Address(text, text, _devices(text))
    found = _SCHEME.match(text)
    scheme = found[1].lower() if found else ""
    if scheme not in (*FILE_SCHEMES, *STREAM_SCHEMES):
        raise InputError(
            "bad-value",
            f"{text} has the scheme {scheme!r}, which is not supported: use one of "
            f"{', '.join((*FILE_SCHEMES, *STREAM_SCHEMES))}, or the path of a file",
        )
    try:
        parts = urlsplit(text)
        has_host = bool(parts.hostname) or scheme in ("udp", "rtp", "tcp", "srt")
        port = parts.port
    except ValueError as error:
        raise InputError("bad-value", f"{text} is not a valid URL: {error}") from None
    if not has_host or port == 0:
        raise InputError(
            "bad-value", f"{text} names no host: write it as {scheme}://HOST[:PORT]/PATH"
        )
    return Address(text, _without_password(parts, text))


def _devices(text: str) -> tuple[Device, ...]:
    devices = []
    for part in _NEXT_PART.split(text.removeprefix(_DEVICE)):
        format, colon, name = part.partition(":")
        if not colon or not name or format not in DEVICE_FORMATS:
            raise InputError(
                "bad-value",
                f"{text} is not a capture device: write it as device:FORMAT:NAME, for example "
                "device:v4l2:/dev/video0 or device:alsa:default; formats are "
                f"{', '.join(DEVICE_FORMATS)}",
            )
        devices.append(Device(format, name))
    if len(devices) > 2:
        raise InputError(
            "bad-value", f"{text} names {len(devices)} devices: give a camera and a microphone"
        )
    return tuple(devices)


def _without_password(parts: SplitResult, text: str) -> str:
    """Hide the password; the user's name and the query remain."""
    if parts.password is None:
        return text
    user, _, host = parts.netloc.rpartition("@")
    return text.replace(f"{user}@{host}", f"{user.partition(':')[0]}:***@{host}", 1)
