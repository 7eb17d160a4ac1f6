"""Open a media file for reading: its tracks, timestamps and duration."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import av
from av.stream import Disposition

from cign.data.media.limits import beyond_limits, codec_options
from cign.data.media.spans import is_guessed, is_unstamped, lists_samples, may_restart, scan
from cign.data.media.timeline import CUT_S, Timeline, is_placeholder, measure

_LISTS = frozenset({"hls", "concat", "dash", "imf"})
# Not typed as cign.errors.Code, which exports lack.
_CODES = {
    "missing": "file-missing",
    "unreadable": "file-unreadable",
    "damaged": "damaged",
    "short": "bad-clip",
}
EPSILON_S = 1e-3  # containers round timestamps to milliseconds


class MediaError(Exception):
    """A file cannot be used as a clip.

    Attributes:
        condition: ``missing``, ``unreadable``, ``damaged`` or ``short``.
        code: The condition as a code of docs/errors.md.
        detail: One sentence without the file's name.
    """

    def __init__(self, condition: str, detail: str) -> None:
        super().__init__(f"{condition}: {detail}")
        self.condition = condition
        self.code = _CODES[condition]
        self.detail = detail


@dataclass
class Media:
    """An open file. Times are in seconds from the start of the earlier stream.

    Attributes:
        path: The file.
        container: The container of PyAV.
        video: The best video stream that is not cover art, if any.
        audio: The best audio stream, if any.
        timeline: Start and end of the streams.
        num_bad: Number of packets and frames that failed so far.
        num_not_finite: Number of audio samples so far that are not finite.
        is_guessed: Whether the format has no index, so that files are read from the start.
        is_unstamped: Whether the format has no timestamps, so that frames are counted.
        may_miss: Whether seeking in the format may end after the key frame.
    """

    path: Path
    container: Any
    video: Any | None
    audio: Any | None
    timeline: Timeline
    num_bad: int = 0
    num_not_finite: int = 0

    def __post_init__(self) -> None:
        tracks = {"video": self.video, "audio": self.audio}
        present = {kind: track for kind, track in tracks.items() if track is not None}
        self._ticks_s = {track.index: float(track.time_base) for track in present.values()}
        origins_s = self.timeline.origins_s
        self._origins_s = {kind: origins_s[track.index] for kind, track in present.items()}
        self.is_guessed = is_guessed(self.container)
        self.is_unstamped = is_unstamped(self.container)
        self.may_miss = may_restart(self.container)

    @classmethod
    def open(cls, path: Path) -> Media:
        """Open a file.

        Raises:
            MediaError: If it is missing, or nothing in it can be decoded.
        """
        if not path.is_file():
            raise MediaError("missing", "the file does not exist")
        if path.stat().st_size == 0:
            raise MediaError("unreadable", "the file is empty")
        container = _open(path)
        try:
            if _LISTS & set(container.format.name.split(",")):
                raise MediaError("unreadable", "it is a list of other files")
            video, audio = _pick(container, "video"), _pick(container, "audio")
            if video is None and audio is None:
                raise MediaError("unreadable", "it contains no video or audio that can be decoded")
            timeline, is_traced = _measured(path, container, video, audio)
            if is_traced:
                container.close()
                container = _open(path)
                video, audio = _pick(container, "video"), _pick(container, "audio")
            if beyond := beyond_limits(video, timeline.duration_s):
                raise MediaError("unreadable", beyond)
            return cls(
                path=path,
                container=container,
                video=None if video is None or video.index in timeline.absent else video,
                audio=None if audio is None or audio.index in timeline.absent else audio,
                timeline=timeline,
                num_bad=int(timeline.is_cut),
            )
        except BaseException:
            container.close()
            raise

    def __enter__(self) -> Media:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.container.close()

    def duration_s(self) -> float:
        """Return the duration, from the earliest to the latest time of the streams in use."""
        return self.timeline.duration_s

    def breaks_off_s(self) -> float | None:
        """Return the earliest time at which a track ends before its stated end; None if none does.

        Reads the whole file.
        """
        if not self.timeline.is_stated:
            return None
        tracks = [track for track in (self.video, self.audio) if track is not None]
        found = scan(self.container, tracks, rewind=True).by_stream
        ends_s = []
        for track in tracks:
            if track.index not in found:
                continue
            stated_s = float((track.start_time + track.duration) * track.time_base)
            end_s = found[track.index].end_s
            if stated_s - end_s > CUT_S and not is_placeholder(stated_s, end_s):
                ends_s.append(end_s - self.timeline.origins_s[track.index])
        return min(ends_s, default=None)

    def seek(self, time_s: float, kind: str) -> None:
        """Move to the last key frame of a track at or before a time; to the start if it fails.

        Args:
            time_s: The time in seconds.
            kind: ``video`` or ``audio``.
        """
        track = getattr(self, kind)
        origin_s = self._origins_s[kind]
        stamp = int((time_s + origin_s) / track.time_base)
        try:
            self.container.seek(stamp, stream=track, backward=True, any_frame=False)
        except av.error.FFmpegError:
            try:
                self.container.seek(int(origin_s * av.time_base), backward=True)
            except av.error.FFmpegError:
                self._reopen()

    def rewind(self) -> None:
        """Go to the first packet of the file, which seeking by time may miss."""
        if _is_byte_stream(self.container) and not self.timeline.shifts_s:
            self.container.seek(0, unsupported_byte_offset=True)
        else:
            self._reopen()

    def _reopen(self) -> None:
        self.container.close()
        self.container = _open(self.path)
        for kind in ("video", "audio"):
            if getattr(self, kind) is not None:
                setattr(self, kind, _pick(self.container, kind))

    def packets(self, *tracks: Any) -> Iterator[Any]:
        """Read packets until the file ends or is truncated; count a truncation in `num_bad`."""
        try:
            for packet in self.container.demux(*tracks):
                # At joins, the last packet of a part is flagged as corrupt, although it decodes.
                self.num_bad += bool(packet.is_corrupt) and not self.timeline.shifts_s
                yield packet
        except (av.error.FFmpegError, ValueError):
            self.num_bad += 1

    def frames(self, packet: Any) -> list[Any]:
        """Decode a packet; count a failure in `num_bad` and return no frames."""
        if not packet.size and (packet.pts is not None or packet.dts is not None):
            return []  # it repeats the previous frame
        try:
            frames: list[Any] = packet.decode()
        except (av.error.FFmpegError, ValueError):
            self.num_bad += 1
            return []
        self.num_bad += sum(bool(frame.is_corrupt) for frame in frames)
        return frames

    def packet_s(self, packet: Any) -> float | None:
        """Return the time of a packet in seconds, if it has one."""
        if packet.pts is None or self.is_unstamped:
            return None
        index = packet.stream.index
        return float(packet.pts) * self._ticks_s[index] - self.timeline.origins_s[index]

    def frame_s(self, frame: Any, kind: str) -> float | None:
        """Return the time of a video or audio frame in seconds, if it has one."""
        if frame.time is None or self.is_unstamped:
            return None
        return float(frame.time) - self._origins_s[kind]


_cache: dict[tuple[Any, ...], Timeline] = {}
_CACHED = 32


def _measured(path: Path, container: Any, video: Any, audio: Any) -> tuple[Timeline, bool]:
    """Call `measure`, with a cache for files that must be read completely.

    Many clips may be parts of the same recording.

    Returns:
        The timeline, and whether the container must be opened again. Reading it to its end changes
        its index and timestamps, but a clip must be decoded identically each time.
    """
    if lists_samples(container, [track for track in (video, audio) if track is not None]):
        return measure(container, video, audio), False
    status = path.stat()
    tracks = tuple(None if track is None else track.index for track in (video, audio))
    key = (str(path), status.st_size, status.st_mtime_ns, status.st_ino, tracks)
    known = _cache.get(key)
    if known is not None:
        return known, False
    found = measure(container, video, audio)
    if not found.is_scanned:
        return found, False
    while len(_cache) >= _CACHED:
        _cache.pop(next(iter(_cache)), None)
    _cache[key] = found
    return found, not _is_byte_stream(container)


def _is_byte_stream(container: Any) -> bool:
    """Return whether reading can start at any byte: MPEG-TS and MPEG-PS."""
    return container.format.name in ("mpegts", "mpeg")


def _open(path: Path) -> Any:
    try:
        # An absolute path is no protocol; the whitelist keeps a disguised playlist off URLs.
        return av.open(
            str(path.absolute()),
            mode="r",
            metadata_errors="replace",
            options=codec_options(),
            container_options={"protocol_whitelist": "file"},
        )
    except (av.error.FFmpegError, ValueError, OSError) as error:
        raise MediaError("unreadable", f"it does not open: {reason(error)}") from None


def _pick(container: Any, kind: str) -> Any | None:
    """Return the best track of a kind, decoded in one thread: the processes run in parallel."""
    candidates = [
        stream
        for stream in container.streams
        if stream.type == kind
        and stream.codec_context is not None
        and not stream.disposition & Disposition.attached_pic
    ]
    best = container.streams.best(kind)
    track = best if best in candidates else next(iter(candidates), None)
    if track is None:
        return None
    track.codec_context.thread_type = "NONE"
    track.codec_context.thread_count = 1
    track.codec_context.options = codec_options()
    return track


@contextlib.contextmanager
def as_media_error() -> Iterator[None]:
    """Convert exceptions of libraries on malformed files to `MediaError`."""
    try:
        yield
    except (av.error.FFmpegError, ValueError, ArithmeticError, MemoryError) as error:
        raise MediaError("unreadable", f"it cannot be decoded: {reason(error)}") from error


def reason(error: BaseException) -> str:
    """Return the short text of an error, without error numbers and file names."""
    text = str(getattr(error, "strerror", None) or error) or type(error).__name__
    return text.splitlines()[0]
