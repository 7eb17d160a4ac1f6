"""Read one connection of a source: place its packets in time, decode them and cut windows."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import av

from cign.data.media.audio import clear_not_finite, holds_floats
from cign.data.media.live.assembler import Window, WindowAssembler
from cign.data.media.live.clock import LiveClock
from cign.data.media.live.opening import Connection, StreamError
from cign.data.media.spans import is_unstamped

# A track whose packets fail for this long has another format than when it was opened.
_FAILING_S = 2.0
_LEAST_PACKETS = 10
# Codecs whose frames refer to others, by the names of their decoders. Raw frames of devices need
# not be marked as key frames.
_PREDICTED = frozenset(
    {"h264", "hevc", "mpeg1video", "mpeg2video", "mpeg4", "vp8", "vp9", "av1", "dav1d"}
)
_BY_ARRIVAL = frozenset({"mpjpeg", "mjpeg"})

Emit = Callable[[Window], None]


class Session:
    """One connection, or those of a camera and a microphone, read in threads.

    Args:
        connections: The connections; their tracks have different kinds.
        assembler: Takes what was decoded.
        clocks: Place the timestamps of each connection in the time of the stream.
        emit: Called with each complete window.

    Attributes:
        begun_s: When the first packet arrived, on the monotonic clock; None before.
        packet_s: When the last packet arrived, or reading began.
        error: Why reading ended; None at the end of the stream.
        num_windows: Number of windows so far.
        failed_at: Position in bytes from which a track could no longer be decoded, if known.
        ended: Set when reading has ended.
    """

    def __init__(
        self,
        connections: list[Connection],
        assembler: WindowAssembler,
        clocks: list[LiveClock],
        emit: Emit,
    ) -> None:
        self._connections, self._assembler, self._clocks = connections, assembler, clocks
        self._emit = emit
        self._lock = threading.Lock()
        self._is_stale = False
        self.begun_s: float | None = None
        self.packet_s = time.monotonic()
        self.error: Exception | None = None
        self.num_windows = 0
        self.failed_at: int | None = None
        self._running = len(connections)
        self.ended = threading.Event()

    def start(self) -> None:
        """Start reading. The threads are daemons: a blocked read must not delay the exit."""
        for connection, clock in zip(self._connections, self._clocks, strict=True):
            threading.Thread(
                target=self._read, args=(connection, clock), name="live", daemon=True
            ).start()

    def abandon(self) -> None:
        """Ignore whatever is still read.

        PyAV cannot end a read from outside. The thread ends with the next packet of its tracks, or
        with the stream.
        """
        with self._lock:
            self._is_stale = True

    def finish(self) -> None:
        """Emit the windows of the end of the stream."""
        with self._lock:
            self._pass_on(self._assembler.rest())

    @property
    def reached_s(self) -> float:
        """Time of the stream up to which it was read."""
        return self._assembler.reached_s

    def _read(self, connection: Connection, clock: LiveClock) -> None:
        error: Exception | None = None
        try:
            self._demux(connection, clock)
        except Exception as raised:  # reported by the controlling thread
            error = raised
        connection.close()
        with self._lock:
            self.error = self.error or error
            self._running -= 1
            if self._running == 0 or error is not None:
                self.ended.set()

    def _demux(self, connection: Connection, clock: LiveClock) -> None:
        readers = {
            track.index: _Track(kind, track, connection)
            for kind, track in connection.tracks.items()
        }
        for packet in connection.container.demux(*connection.tracks.values()):
            if self._is_stale:
                return
            track = readers[packet.stream_index]
            arrived_s = time.monotonic()
            is_flush = not packet.size and packet.pts is None and packet.dts is None
            if not is_flush:
                self.packet_s = arrived_s
                if self.begun_s is None:
                    self.begun_s = arrived_s
                if not track.place(packet, clock, arrived_s):
                    continue
                if track.packet_end_s is not None:
                    with self._lock:
                        self._assembler.arrived(track.kind, track.packet_end_s, arrived_s)
            for frame, time_s in track.frames(packet):
                with self._lock:
                    if self._is_stale:
                        return
                    take = getattr(self._assembler, f"take_{track.kind}")
                    self._pass_on(take(frame, time_s))
            if track.is_failing:
                self.failed_at = track.failing_from
                raise StreamError(
                    f"its {track.kind} can no longer be decoded: its format has changed"
                )

    def _pass_on(self, windows: Iterator[Window]) -> None:
        for window in windows:
            self.num_windows += 1
            self._emit(window)


class _Track:
    """Decodes one track of a connection."""

    def __init__(self, kind: str, track: Any, connection: Connection) -> None:
        self.kind, self._track = kind, track
        self._tick_s = float(track.time_base)
        self._is_unstamped = is_unstamped(connection.container)
        self._is_by_arrival = bool(connection.formats & _BY_ARRIVAL)
        self._may_hold_nan = kind == "audio" and holds_floats(track.codec_context)
        self._step_s = 1 / float(track.guessed_rate or 25) if kind == "video" else 0.0
        # A decoder that starts between key frames may return frames without their reference.
        self._waits_for_key = track.codec_context.name.removeprefix("lib") in _PREDICTED
        self._next_s: float | None = None
        self.packet_end_s: float | None = None
        self._outcomes: deque[tuple[float, bool, int | None]] = deque()

    def place(self, packet: Any, clock: LiveClock, arrived_s: float) -> bool:
        """Set the timestamps of a packet to the time of the stream; return whether to decode it."""
        if self._waits_for_key:
            if not packet.is_keyframe:
                return False
            self._waits_for_key = False
        self.packet_end_s = None
        order = packet.pts if packet.dts is None else packet.dts
        if self._is_by_arrival or (self._is_unstamped and order is None):
            if self._is_by_arrival:
                self._next_s = self.packet_end_s = clock.at_arrival_s(arrived_s)
            return True
        if order is not None:
            span_s = (packet.duration or 0) * self._tick_s
            start = order if packet.pts is None else packet.pts
            times_s = (order * self._tick_s, start * self._tick_s, start * self._tick_s + span_s)
            shift_s = clock.shift_s(packet.stream_index, times_s, arrived_s)
            ticks = round(shift_s / self._tick_s)
            packet.dts = None if packet.dts is None else packet.dts + ticks
            packet.pts = None if packet.pts is None else packet.pts + ticks
            start = packet.dts if packet.pts is None else packet.pts
            self.packet_end_s = start * self._tick_s + (span_s or self._step_s)
        return True

    def frames(self, packet: Any) -> Iterator[tuple[Any, float]]:
        """Decode a packet; yield frames with their start in seconds of the stream."""
        try:
            decoded = packet.decode()
            is_good = not any(frame.is_corrupt for frame in decoded)
        except (av.error.FFmpegError, ValueError):
            decoded, is_good = [], False
        self._judge(is_good, packet.pos)
        for frame in decoded:
            if frame.is_corrupt:
                continue
            given_s = None if self._is_by_arrival else frame.time
            start_s = self._next_s if given_s is None else float(given_s)
            start_s = 0.0 if start_s is None else start_s
            if self.kind == "audio":
                length_s = frame.samples / frame.sample_rate
                if self._may_hold_nan:
                    clear_not_finite(frame)
            else:
                length_s = self._step_s
            self._next_s = start_s + length_s
            yield frame, start_s

    def _judge(self, is_good: bool, position: int | None) -> None:
        now_s = time.monotonic()
        self._outcomes.append((now_s, is_good, position))
        while len(self._outcomes) > _LEAST_PACKETS and now_s - self._outcomes[0][0] > _FAILING_S:
            self._outcomes.popleft()
        while len(self._outcomes) > 50 * _LEAST_PACKETS:
            self._outcomes.popleft()

    @property
    def is_failing(self) -> bool:
        """Whether most of the latest packets failed."""
        num_bad = sum(not is_good for _, is_good, _ in self._outcomes)
        return num_bad >= _LEAST_PACKETS and num_bad > len(self._outcomes) / 2

    @property
    def failing_from(self) -> int | None:
        """Position of the first of the latest packets that failed."""
        return next((position for _, is_good, position in self._outcomes if not is_good), None)
