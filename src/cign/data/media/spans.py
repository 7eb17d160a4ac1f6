"""Find start and end of the streams of a file, from its header or by reading its packets."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import av

from cign.data.media.joins import PartFinder, shifts_s

# The headers of these formats contain no duration; FFmpeg estimates the duration, and positions
# for seeking, from the bit rate.
_GUESSED_LENGTH = frozenset({"mp3", "aac", "ac3", "eac3", "h264", "hevc", "m4v", "mpegvideo"})
_NO_TIMESTAMPS = 0x0080  # AVFMT_NOTIMESTAMPS: elementary streams
_DISCONTINUITIES = 0x0200  # AVFMT_TS_DISCONT: timestamps may restart
_TAIL_S = 1.0
_NEAR_S = 1.0


@dataclass
class Span:
    """Start and end of a stream, in seconds of the file's clock.

    Attributes:
        start_s: Its first timestamp.
        end_s: End of its last packet.
        num_packets: Number of its packets; at least two if not all packets were counted.
    """

    start_s: float
    end_s: float
    num_packets: int


@dataclass(kw_only=True)
class Spans:
    """Spans of the streams of a file, from its header or from reading it.

    Attributes:
        by_stream: The span of each stream that has packets, by its index.
        is_stated: Whether the spans are those of the header; no packets were read.
        is_scanned: Whether all packets were read.
        shifts_s: See `cign.data.media.joins.shifts_s`; empty if the timestamps do not restart.
        keys_s: Times of the key frames in ascending order; empty if the timestamps do not restart.
        is_broken: Whether reading failed before the end.
    """

    by_stream: dict[int, Span]
    is_stated: bool = False
    is_scanned: bool = False
    shifts_s: tuple[float, ...] = ()
    keys_s: tuple[float, ...] = ()
    is_broken: bool = False


def is_guessed(container: Any) -> bool:
    """Return whether a format has no duration and no index: such files are read from the start."""
    return bool(_GUESSED_LENGTH & _names(container)) or is_unstamped(container)


def is_unstamped(container: Any) -> bool:
    """Return whether a format has no timestamps, so that frames are counted."""
    return bool(container.format.flags & _NO_TIMESTAMPS)


def may_restart(container: Any) -> bool:
    """Return whether timestamps may restart in a format; there, seeking may miss key frames too."""
    return bool(container.format.flags & _DISCONTINUITIES)


def _names(container: Any) -> set[str]:
    return set(container.format.name.split(","))


def claimed_s(container: Any) -> float | None:
    """Return the duration that a container states, which may instead be the time of its end."""
    known = container.duration
    return float(known) / av.time_base if known and known > 0 else None


def find_spans(container: Any, tracks: Sequence[Any]) -> Spans:
    """Find start and end of streams.

    If the header lists the samples (MP4, MOV), no packets are read. Of other files, the end is
    read; files without a duration, or whose timestamps may restart, are read completely.

    Args:
        container: The newly opened container of PyAV.
        tracks: The streams.
    """
    if lists_samples(container, tracks):
        return Spans(by_stream={track.index: _stated(track) for track in tracks}, is_stated=True)
    if is_guessed(container) or may_restart(container) or claimed_s(container) is None:
        return scan(container, tracks)
    return _read_end(container, tracks) or scan(container, tracks, rewind=True)


def lists_samples(container: Any, tracks: Iterable[Any]) -> bool:
    """Return whether the header lists all samples of the tracks; false for fragmented files."""
    return "mov" in _names(container) and all(
        track.frames > 0 and track.duration and track.start_time is not None for track in tracks
    )


def _stated(track: Any) -> Span:
    start, tick_s = track.start_time, float(track.time_base)
    return Span(start * tick_s, (start + track.duration) * tick_s, track.frames)


def scan(container: Any, tracks: Sequence[Any], *, rewind: bool = False) -> Spans:
    """Read all packets of some streams.

    Args:
        container: The container of PyAV.
        tracks: The streams.
        rewind: Whether to seek to the beginning first, for containers that were read before.
    """
    if rewind:
        with contextlib.suppress(av.error.FFmpegError):
            container.seek(container.start_time or 0)
    scanner = _Scanner(tracks, is_unstamped=is_unstamped(container))
    is_broken = False
    try:
        for packet in _packets(container, tracks):
            scanner.take(packet)
    except (av.error.FFmpegError, ValueError):
        is_broken = True
    spans = scanner.spans()
    spans.is_broken, spans.is_scanned = is_broken, True
    if not spans.shifts_s and not is_unstamped(container):
        _take_stated_starts(tracks, spans.by_stream)
    return spans


class _Scanner:
    """Processes the packets of a file in order; computes with integers, for speed.

    Args:
        tracks: The streams.
        is_unstamped: Whether the streams have no timestamps, so that frames are counted.
    """

    def __init__(self, tracks: Sequence[Any], *, is_unstamped: bool = False) -> None:
        self._is_unstamped = is_unstamped
        self._ticks = {track.index: track.time_base for track in tracks}
        self._video = {track.index for track in tracks if track.type == "video"}
        self._finder = PartFinder({index: float(tick) for index, tick in self._ticks.items()})
        self.num_packets = dict.fromkeys(self._ticks, 0)
        self._next: dict[int, int] = {}
        self._keys: list[tuple[int, float]] = []

    def take(self, packet: Any) -> None:
        """Process the next packet."""
        index, pts, dts, duration = (
            packet.stream_index,
            packet.pts,
            packet.dts,
            packet.duration or 0,
        )
        start = dts if pts is None else pts
        if start is None or self._is_unstamped:
            # A packet without timestamp follows directly after the previous packet.
            if not self._is_unstamped and index not in self._next:
                return
            start, order = self._next.get(index, 0), None
        else:
            order = start if dts is None else dts
        end = self._next[index] = start + duration
        self.num_packets[index] += 1
        number = self._finder.take(index, order, start, end)
        if index in self._video and packet.is_keyframe:
            self._keys.append((number, float(start * self._ticks[index])))

    def spans(self) -> Spans:
        """Return the spans of the streams, with their parts placed end to end."""
        parts = self._finder.parts(self._ticks)
        shifts = shifts_s(parts)
        found: dict[int, Span] = {}
        for index, number in self.num_packets.items():
            times_s = [
                (part.starts_s[index] + shift_s, part.ends_s[index] + shift_s)
                for part, shift_s in zip(parts, shifts, strict=True)
                if index in part.starts_s
            ]
            if times_s:
                start_s, end_s = min(one[0] for one in times_s), max(one[1] for one in times_s)
                found[index] = Span(start_s, end_s, number)
        if len(shifts) == 1:
            return Spans(by_stream=found)
        keys_s = sorted(time_s + shifts[part] for part, time_s in self._keys)
        return Spans(by_stream=found, shifts_s=tuple(shifts), keys_s=tuple(keys_s))


def _packets(container: Any, tracks: Sequence[Any]) -> Iterator[Any]:
    """Yield packets to the end of the file, without those that flush the decoders."""
    for packet in container.demux(*tracks):
        if packet.size or packet.pts is not None or packet.dts is not None:
            yield packet


def _times_s(packet: Any) -> tuple[float, float] | None:
    """Return start and end of a packet in seconds, if it has a timestamp."""
    stamp = packet.pts if packet.pts is not None else packet.dts
    if stamp is None:
        return None
    end = stamp + (packet.duration or 0)
    return float(stamp * packet.time_base), float(end * packet.time_base)


def _take_stated_starts(tracks: Iterable[Any], spans: dict[int, Span]) -> None:
    """Use the start stated in the header if it is near the first timestamp.

    The header accounts for samples that a decoder drops at the start. The stated start is far from
    the first timestamp if the header states the start of another stream.
    """
    for track in tracks:
        if track.index in spans and track.start_time is not None:
            stated_s = float(track.start_time * track.time_base)
            if abs(stated_s - spans[track.index].start_s) <= _NEAR_S:
                spans[track.index].start_s = stated_s


def _read_end(container: Any, tracks: Sequence[Any]) -> Spans | None:
    """Read the beginning and the end of a file with an index.

    Returns:
        The spans; None if a stream has no packet in these places, or timestamps restart.
    """
    try:
        spans = _first_packets(container, tracks)
        if len(spans) < len(tracks):
            return None
        first_s = min(span.start_s for span in spans.values())
        last_s = first_s + (claimed_s(container) or 0.0) - _TAIL_S
        ends: set[int] = set()
        for track in tracks:
            if track.index in ends:
                continue
            _seek(container, track, max(last_s, spans[track.index].start_s))
            scanner = _Scanner(tracks)
            for packet in _packets(container, tracks):
                scanner.take(packet)
            found = scanner.spans()
            if found.shifts_s:
                return None
            for index, span in found.by_stream.items():
                spans[index].end_s = max(spans[index].end_s, span.end_s)
                is_whole = span.start_s <= spans[index].start_s
                spans[index].num_packets = span.num_packets if is_whole else 2
                ends.add(index)
    except (av.error.FFmpegError, ValueError):
        return None
    if len(ends) < len(tracks):
        return None
    _take_stated_starts(tracks, spans)
    return Spans(by_stream=spans)


def _first_packets(container: Any, tracks: Sequence[Any]) -> dict[int, Span]:
    """Return the span of each stream's first packet; read until all streams have one."""
    spans: dict[int, Span] = {}
    for packet in _packets(container, tracks):
        times_s = _times_s(packet)
        if times_s is not None:
            spans.setdefault(packet.stream.index, Span(*times_s, 1))
        if len(spans) == len(tracks):
            break
    return spans


def _seek(container: Any, track: Any, time_s: float) -> None:
    with contextlib.suppress(av.error.FFmpegError):
        container.seek(int(time_s / track.time_base), stream=track, backward=True)
