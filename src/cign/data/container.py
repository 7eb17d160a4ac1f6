"""A media file opened for reading: its tracks, its clock and its length."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import av
from av.stream import Disposition

# Their headers hold no length, so that the decoder guesses it from the bit rate.
_GUESSED_LENGTH = frozenset({"mp3", "aac", "ac3", "eac3", "h264", "hevc", "m4v", "mpegvideo"})

_LISTS = frozenset({"hls", "concat", "dash", "imf"})
# Containers round time stamps to milliseconds.
EPSILON_S = 1e-3
_CUT_S = 0.25


class MediaError(Exception):
    """A file that gives no usable clip.

    Attributes:
        condition: ``missing``, ``unreadable``, ``damaged`` or ``short``.
        detail: One sentence without the file's name.
    """

    def __init__(self, condition: str, detail: str) -> None:
        super().__init__(f"{condition}: {detail}")
        self.condition = condition
        self.detail = detail


@dataclass
class Media:
    """An open file. Times are in seconds from the start of the earliest track.

    Attributes:
        path: The file.
        container: The container of PyAV.
        video: The best picture track that is not a cover picture, if any.
        audio: The best sound track, if any.
        origin_s: The container's own time of the start.
        num_bad: Packets and frames that failed so far.
    """

    path: Path
    container: Any
    video: Any | None
    audio: Any | None
    origin_s: float
    num_bad: int = 0

    def __post_init__(self) -> None:
        tracks = (track for track in (self.video, self.audio) if track is not None)
        self._ticks_s = {track.index: float(track.time_base) for track in tracks}

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
        try:
            # An absolute name is never taken for a protocol; a list in disguise opens no address.
            container = av.open(
                str(path.absolute()),
                mode="r",
                metadata_errors="replace",
                container_options={"protocol_whitelist": "file"},
            )
        except (av.error.FFmpegError, ValueError, OSError) as error:
            raise MediaError("unreadable", f"it does not open: {reason(error)}") from None
        try:
            media = cls(
                path=path,
                container=container,
                video=_pick(container, "video"),
                audio=_pick(container, "audio"),
                origin_s=(container.start_time or 0) / av.time_base,
            )
        except BaseException:
            container.close()
            raise
        if _LISTS & set(container.format.name.split(",")):
            container.close()
            raise MediaError("unreadable", "it is a list of other files")
        if media.video is None and media.audio is None:
            container.close()
            raise MediaError("unreadable", "it holds no picture or sound that can be decoded")
        return media

    def __enter__(self) -> Media:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.container.close()

    @property
    def is_guessed(self) -> bool:
        """Whether the format holds no length and no index: such files are read from the start."""
        return bool(_GUESSED_LENGTH & set(self.container.format.name.split(",")))

    def duration_s(self) -> float:
        """Length of the longest track, by the header where that says it."""
        known = self.container.duration
        if known and known > 0 and not self.is_guessed:
            return float(known) / av.time_base
        return max(self.real_ends_s().values(), default=0.0)

    def real_ends_s(self) -> dict[int, float]:
        """Where each track ends, found by reading all packets."""
        tracks = [track for track in (self.video, self.audio) if track is not None]
        ends_s = {track.index: 0.0 for track in tracks}
        self.seek(0.0, tracks[0])
        for packet in self.packets(*tracks):
            stamp = packet.pts if packet.pts is not None else packet.dts
            if stamp is not None and packet.size:
                end_s = float((stamp + (packet.duration or 0)) * packet.time_base) - self.origin_s
                ends_s[packet.stream.index] = max(ends_s[packet.stream.index], end_s)
        return ends_s

    def breaks_off_s(self) -> float | None:
        """Where the first track breaks off that the header says to be longer; reads the file."""
        if self.is_guessed:
            return None
        real_s = self.real_ends_s()
        broken_s = [
            real_s[track.index]
            for track in (self.video, self.audio)
            if track is not None and (self._claimed_s(track) or 0.0) - real_s[track.index] > _CUT_S
        ]
        longest_s = max(real_s.values())
        if self.duration_s() - longest_s > _CUT_S:
            broken_s.append(longest_s)
        return min(broken_s, default=None)

    def _claimed_s(self, track: Any) -> float | None:
        if track.duration is None or track.duration <= 0:
            return None
        end = (track.start_time or 0) + track.duration
        return float(end * track.time_base) - self.origin_s

    def seek(self, time_s: float, track: Any) -> None:
        """Move to the last key frame of a track at or before a time; to the start if it fails."""
        stamp = int((time_s + self.origin_s) / track.time_base)
        try:
            self.container.seek(stamp, stream=track, backward=True, any_frame=False)
        except av.error.FFmpegError:
            with contextlib.suppress(av.error.FFmpegError):
                self.container.seek(int(self.origin_s * av.time_base), backward=True)

    def packets_from(self, time_s: float, track: Any) -> Iterator[Any]:
        """Packets of a track from the last key frame at or before a time on.

        Where the file's index leads too far, all packets from the start on.
        """
        for seek_s in (0.0,) if self.is_guessed else (time_s, 0.0):
            self.seek(seek_s, track)
            packets = self.packets(track)
            packet = next(packets, None)
            if packet is None:
                continue
            stamp_s = self.packet_s(packet)
            if seek_s > 0 and stamp_s is not None and stamp_s > time_s + EPSILON_S:
                continue
            yield packet
            yield from packets
            return

    def packets(self, *tracks: Any) -> Iterator[Any]:
        """Read packets until the file ends or breaks off; a break counts as trouble."""
        try:
            for packet in self.container.demux(*tracks):
                self.num_bad += bool(packet.is_corrupt)
                yield packet
        except (av.error.FFmpegError, ValueError):
            self.num_bad += 1

    def frames(self, packet: Any) -> list[Any]:
        """Decode a packet; one that fails counts as trouble and gives nothing."""
        try:
            frames: list[Any] = packet.decode()
        except (av.error.FFmpegError, ValueError):
            self.num_bad += 1
            return []
        self.num_bad += sum(bool(frame.is_corrupt) for frame in frames)
        return frames

    def packet_s(self, packet: Any) -> float | None:
        """The time of a packet, if it has one."""
        if packet.pts is None:
            return None
        return float(packet.pts) * self._ticks_s[packet.stream.index] - self.origin_s

    def frame_s(self, frame: Any) -> float | None:
        """The time of a frame, if it has one."""
        return None if frame.time is None else float(frame.time) - self.origin_s


def _pick(container: Any, kind: str) -> Any | None:
    """The best track of a kind, decoded by one thread: the processes do the work in parallel."""
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
    return track


@contextlib.contextmanager
def as_media_error() -> Iterator[None]:
    """Turn what libraries raise at strange files into `MediaError`."""
    try:
        yield
    except (av.error.FFmpegError, ValueError, ArithmeticError, MemoryError) as error:
        raise MediaError("unreadable", f"it cannot be decoded: {reason(error)}") from error


def reason(error: BaseException) -> str:
    """The short text of an error, without numbers of errors and file names."""
    text = str(getattr(error, "strerror", None) or error) or type(error).__name__
    return text.splitlines()[0]
