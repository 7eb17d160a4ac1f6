"""Open a stream or a capture device with FFmpeg, within a time limit, and name what is wrong."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import av

from cign.data.media.addresses import DEVICE_FORMATS, FILE_SCHEMES, Address, Device
from cign.data.media.container import MediaError, pick_track, reason

# No `file`: a playlist on a server must not open files of this machine.
_PROTOCOLS = "http,https,httpproxy,tcp,tls,crypto,data,rtsp,rtsps,rtmp,rtmps,rtp,srtp,udp,srt"
# A segment of HLS lasts up to about ten seconds, and the next one may be late.
_SEGMENTED_S = 60.0
_SEGMENTED = frozenset({"hls", "dash"})
_ALSA_CONFIGURATION = Path("/usr/share/alsa/alsa.conf")


class StreamError(MediaError):
    """A stream or a device cannot be opened, or was lost.

    Attributes:
        is_final: Whether trying again is useless, for example because the format is unknown.
    """

    def __init__(self, detail: str, *, is_final: bool = False) -> None:
        Exception.__init__(self, f"stream: {detail}")
        self.condition, self.code, self.detail = "stream", "stream-failed", detail
        self.is_final = is_final

    def __str__(self) -> str:
        return self.detail


class Connection:
    """An open stream or device.

    Attributes:
        container: The container of PyAV.
        tracks: The tracks in use by kind, ``video`` and ``audio``.
    """

    def __init__(self, container: Any, kinds: frozenset[str] | None = None) -> None:
        self.container = container
        found = {kind: pick_track(container, kind) for kind in kinds or ("video", "audio")}
        self.tracks: dict[str, Any] = {k: track for k, track in found.items() if track is not None}
        if not self.tracks:
            container.close()
            raise StreamError("it contains no video or audio that can be decoded", is_final=True)

    @property
    def formats(self) -> set[str]:
        """Names of the format."""
        return set(self.container.format.name.split(","))

    @property
    def is_finite(self) -> bool:
        """Whether it is a recording with a known length, which may arrive at any speed."""
        return self.container.duration is not None and self.container.duration > 0

    @property
    def is_file(self) -> bool:
        """Whether it is one file of known size, not a playlist or a stream."""
        return self.container.size > 0 and not self.formats & _SEGMENTED

    def close(self) -> None:
        """Close it."""
        self.container.close()


def open_url(address: Address, options: Mapping[str, str], timeout_s: float) -> Connection:
    """Open a URL.

    Args:
        address: The URL.
        options: Options of FFmpeg, for example ``rtsp_transport: udp``.
        timeout_s: Seconds without data after which opening and reading fail.

    Raises:
        StreamError: If it cannot be opened, or sends no media.
    """
    merged = {"protocol_whitelist": _PROTOCOLS}
    if address.scheme in ("rtsp", "rtsps"):
        merged["rtsp_transport"] = "tcp"  # packets lost on UDP would damage most frames
    if address.scheme in ("https", "rtsps", "rtmps") or address.is_hls:
        merged |= _verified()
    merged |= options
    read_timeout_s = timeout_s
    if address.scheme in FILE_SCHEMES and address.is_hls:
        read_timeout_s = max(timeout_s, _SEGMENTED_S)
    try:
        return Connection(
            av.open(
                address.text,
                metadata_errors="replace",
                container_options=merged,
                timeout=(timeout_s, read_timeout_s),
            )
        )
    except (av.error.FFmpegError, ValueError, OSError) as error:
        raise _explained(error, address, timeout_s) from None


def open_device(device: Device, options: Mapping[str, str], timeout_s: float) -> Connection:
    """Open a capture device; arguments and errors as for `open_url`."""
    here = [name for name in DEVICE_FORMATS if name in _formats()]
    if device.format not in here:
        raise StreamError(
            f"this build of FFmpeg has no input devices of format {device.format!r}; it has "
            f"{', '.join(here)}",
            is_final=True,
        )
    if device.format == "alsa" and _ALSA_CONFIGURATION.is_file():
        # The library inside PyAV's wheel looks for it where the wheel was built.
        os.environ.setdefault("ALSA_CONFIG_PATH", str(_ALSA_CONFIGURATION))
    try:
        container = av.open(
            device.name,
            format=device.format,
            metadata_errors="replace",
            container_options=dict(options),
            timeout=(timeout_s, timeout_s),
        )
    except (av.error.FFmpegError, ValueError, OSError) as error:
        raise StreamError(
            f"the device {device.name} does not open: {reason(error)}{_others(device)}"
        ) from None
    return Connection(container)


def _formats() -> set[str]:
    """Names of all formats; some have several."""
    return {name for names in av.formats_available for name in names.split(",")}


def _others(device: Device) -> str:
    """The devices that are there, if FFmpeg can list them."""
    with contextlib.suppress(Exception):
        from av.device import enumerate_input_devices

        names = [one.name for one in enumerate_input_devices(device.format)]
        if names:
            return f"; there are {', '.join(names[:10])}"
        return f"; no {device.format} device was found"
    return "; check its name and that no other program uses it"


def open_growing(file: Any, kinds: frozenset[str] | None = None) -> Connection:
    """Open a `GrowingFile`.

    Raises:
        StreamError: If it holds no media that can be read while the file grows.
    """
    try:
        return Connection(av.open(file, metadata_errors="replace"), kinds)
    except (av.error.FFmpegError, ValueError, OSError) as error:
        raise StreamError(
            f"it cannot be read from its start ({reason(error)}): formats for "
            "following have no index at the end, such as MPEG-TS, Matroska, fragmented MP4 or WAV",
            is_final=True,
        ) from None


def _verified() -> dict[str, str]:
    """Options that verify certificates against those of the system."""
    paths = ssl.get_default_verify_paths()
    file = paths.cafile or os.environ.get("SSL_CERT_FILE")
    return {"tls_verify": "1"} | ({"ca_file": file} if file and Path(file).is_file() else {})


def _explained(error: BaseException, address: Address, timeout_s: float) -> StreamError:
    """Convert an exception of FFmpeg."""
    if isinstance(error, (av.error.ExitError, TimeoutError)):
        return StreamError(f"no data for {timeout_s:g} s")
    if isinstance(error, ConnectionRefusedError):
        return StreamError("the connection was refused: check address and port, and the server")
    if isinstance(error, (av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError)):
        return StreamError(f"access was denied ({reason(error)}): check user name and password")
    if isinstance(error, av.error.HTTPNotFoundError):
        return StreamError("the server answers 404, not found: check the path")
    if isinstance(error, av.error.HTTPError):
        return StreamError(f"the server refuses it: {reason(error)}")
    if isinstance(error, av.error.ProtocolNotFoundError):
        return StreamError(
            f"this build of FFmpeg has no protocol {address.scheme!r}", is_final=True
        )
    if isinstance(error, av.error.OptionNotFoundError):
        return StreamError(f"an option is unknown: {reason(error)}", is_final=True)
    if isinstance(error, av.error.InvalidDataError):
        return StreamError("it sends no media that can be decoded")
    if not _resolves(address.host):
        return StreamError(f"the host {address.host} is unknown: check its name and the network")
    return StreamError(f"the connection failed: {reason(error)}")


def _resolves(host: str | None) -> bool:
    if host is None:
        return True
    try:
        socket.getaddrinfo(host, None)
    except OSError:
        return False
    return True
