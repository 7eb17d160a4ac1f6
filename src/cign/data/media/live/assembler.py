"""Cut windows out of decoded frames and audio as they arrive, in constant memory."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cign.data.media.audio import Piece, PieceMaker
from cign.data.media.container import EPSILON_S
from cign.data.media.decode import SHORT_S, Decoded, MediaSpec, frame_times_s
from cign.data.media.video import to_square

# A window waits this long, in seconds of the stream, for a track that lags behind the other. Tracks
# of MPEG-TS are up to a second apart.
PATIENCE_S = 2.0
# A frame is still shown this long after the next one was due; then the picture counts as lost.
_SHOWN_S = 5.0
# Frames stored per window for the last, incomplete one.
_STORED = 8


@dataclass(frozen=True)
class Window:
    """A complete window.

    Attributes:
        decoded: Its content.
        arrived_s: When its last sample had arrived, on the clock of the caller.
    """

    decoded: Decoded
    arrived_s: float


class _Open:
    """A window that is not complete: the times of its frames and the frames found so far."""

    def __init__(self, spec: MediaSpec, start_s: float) -> None:
        self.times_s = frame_times_s(spec, start_s, start_s + spec.window_s)
        self.squares: list[NDArray[np.uint8]] = []


class WindowAssembler:
    """Cuts windows that start every ``every_s`` seconds, like those of a file.

    Times are in seconds of the stream. A window is complete when both tracks have reached its end,
    or one of them has and the other lags too far behind.

    Args:
        spec: Frames and audio of a window.
        every_s: Seconds between the starts of windows.
        kinds: The tracks: ``video``, ``audio`` or both.
        from_s: Time at which the tracks begin; later than 0 after an interruption.
    """

    def __init__(
        self, spec: MediaSpec, every_s: float, kinds: frozenset[str], from_s: float = 0.0
    ) -> None:
        self._spec, self._every_s, self._kinds = spec, every_s, kinds
        self._from_s = from_s
        self._number = self._first_from(from_s)
        self._reached_s = dict.fromkeys(kinds, from_s)
        self._arrivals: dict[str, deque[tuple[float, float]]] = {k: deque() for k in kinds}
        self._lost: set[str] = set()
        self._maker = PieceMaker(spec.rate_hz)
        self._pieces: deque[Piece] = deque()
        self._open: dict[int, _Open] = {}
        self._frame: tuple[Any, float] | None = None
        self._square: NDArray[np.uint8] | None = None
        self._stored: deque[tuple[float, NDArray[np.uint8]]] = deque()

    def arrived(self, kind: str, end_s: float, arrived_s: float) -> None:
        """Record that a packet arrived.

        Args:
            kind: ``video`` or ``audio``.
            end_s: End of the packet in seconds.
            arrived_s: When it arrived.
        """
        known = self._arrivals[kind]
        if not known or end_s > known[-1][0]:
            known.append((end_s, arrived_s))

    def take_audio(self, frame: Any, time_s: float) -> Iterator[Window]:
        """Add an audio frame that starts at a time; yield the windows that are complete."""
        self._skip_pause(time_s)
        for piece in self._maker.take(frame, time_s):
            self._add(piece)
        self._reached_s["audio"] = max(
            self._reached_s["audio"], time_s + frame.samples / frame.sample_rate
        )
        yield from self._complete()

    def take_video(self, frame: Any, time_s: float) -> Iterator[Window]:
        """Add a video frame shown from a time on; yield the windows that are complete."""
        self._skip_pause(time_s)
        last = int(time_s / self._every_s) + 1
        for number in range(self._number, last):
            one = self._open.get(number)
            if one is None:
                one = self._open[number] = _Open(self._spec, number * self._every_s)
            while len(one.squares) < len(one.times_s):
                wanted_s = one.times_s[len(one.squares)]
                if time_s <= wanted_s + EPSILON_S:
                    break
                one.squares.append(self._shown(frame))
        self._frame, self._square = (frame, time_s), None
        if not self._stored or time_s - self._stored[-1][0] >= self._spec.window_s / _STORED:
            self._square = to_square(frame, self._spec.frame_px)
            self._stored.append((time_s, self._square))
        self._reached_s["video"] = max(self._reached_s["video"], time_s)
        yield from self._complete()

    def rest(self) -> Iterator[Window]:
        """End the stream; yield the remaining windows, the last ones filled like short clips."""
        for piece in self._maker.rest():
            self._add(piece)
        yield from self._complete()
        end_s = max((self._end_of(kind) for kind in self._kinds), default=0.0)
        while end_s - self._start_s >= SHORT_S:
            yield self._cut(min(self._start_s + self._spec.window_s, end_s))

    @property
    def reached_s(self) -> float:
        """Time up to which the stream was read."""
        return max((self._end_of(kind) for kind in self._kinds), default=self._from_s)

    def _first_from(self, time_s: float) -> int:
        """Number of the first window that starts at a time or later."""
        return max(math.ceil(time_s / self._every_s - 1e-6), 0)

    def _skip_pause(self, time_s: float) -> None:
        """Skip the windows of a pause of all tracks: nothing is in them."""
        if time_s - self.reached_s > max(_SHOWN_S, self._spec.window_s):
            self._number = max(self._number, self._first_from(time_s))
            self._frame = self._square = None
            self._forget()

    @property
    def _start_s(self) -> float:
        return self._number * self._every_s

    def _end_of(self, kind: str) -> float:
        """End of a track so far: of its last packet, which knows how long its frame is shown."""
        known = self._arrivals[kind]
        return max(self._reached_s[kind], known[-1][0] if known else 0.0)

    def _shown(self, following: Any) -> NDArray[np.uint8]:
        """The frame shown before the given one; the given one if it is the first."""
        if self._frame is None:
            return to_square(following, self._spec.frame_px)
        if self._square is None:
            self._square = to_square(self._frame[0], self._spec.frame_px)
        return self._square

    def _add(self, piece: Piece) -> None:
        index, samples = piece
        if len(samples) and index + len(samples) > round(self._start_s * self._spec.rate_hz):
            self._pieces.append(piece)

    def _is_reached(self, kind: str) -> bool:
        if kind == "audio":
            end = round(self._start_s * self._spec.rate_hz) + self._spec.num_samples
            return bool(self._pieces) and self._pieces[-1][0] + len(self._pieces[-1][1]) >= end
        one = self._open.get(self._number)
        return one is not None and len(one.squares) == len(one.times_s)

    def _complete(self) -> Iterator[Window]:
        while True:
            end_s = self._start_s + self._spec.window_s
            waiting = {kind for kind in self._kinds if not self._is_reached(kind)}
            if waiting:
                ahead_s = max(self._reached_s.values()) - end_s
                patience_s = 0.0 if waiting <= self._lost else PATIENCE_S
                if waiting == self._kinds or ahead_s < patience_s:
                    return
            self._lost = {kind for kind in waiting if self._reached_s[kind] <= self._start_s}
            yield self._cut(end_s)

    def _cut(self, end_s: float) -> Window:
        """Cut the current window, whose content ends at a time, and go on to the next."""
        audio, has_audio = self._audio(end_s)
        frames = self._frames(end_s)
        start_s = self._start_s
        decoded = Decoded(
            frames=np.zeros((self._spec.num_frames, *([self._spec.frame_px] * 2), 3), np.uint8)
            if frames is None
            else frames,
            audio=audio,
            has_audio=has_audio,
            has_visual=frames is not None,
            silent=False,
            still=None,
            start_s=start_s,
            end_s=end_s,
            duration_s=end_s - start_s,
        )
        arrived_s = 0.0
        for kind in self._kinds:
            later = [one[1] for one in self._arrivals[kind] if one[0] >= end_s - EPSILON_S]
            known = self._arrivals[kind]
            arrived_s = max(arrived_s, later[0] if later else (known[-1][1] if known else 0.0))
        self._number += 1
        self._forget()
        return Window(decoded, arrived_s)

    def _audio(self, end_s: float) -> tuple[NDArray[np.int16], bool]:
        """Samples of the window, and whether there are any."""
        rate_hz = self._spec.rate_hz
        begin, length = round(self._start_s * rate_hz), self._spec.num_samples
        num = length if end_s >= self._start_s + self._spec.window_s else 0
        num = num or round((end_s - self._start_s) * rate_hz)
        samples = np.zeros(num, np.int16)
        first, last = num, 0
        for offset, piece in self._pieces:
            low, high = max(offset, begin), min(offset + len(piece), begin + num)
            if low < high:
                samples[low - begin : high - begin] = piece[low - offset : high - offset]
                first, last = min(first, low - begin), max(last, high - begin)
        if last and num < length:
            samples = np.resize(samples[first:last], length)
        return (samples, True) if last else (np.zeros(length, np.int16), False)

    def _frames(self, end_s: float) -> NDArray[np.uint8] | None:
        """Frames of the window; None if the picture is lost or was never there."""
        if self._frame is None:
            return None
        one = self._open.get(self._number)
        squares = [] if one is None else list(one.squares)
        if not squares and self._frame[1] < self._start_s - _SHOWN_S:
            return None
        if end_s < self._start_s + self._spec.window_s:
            times_s = frame_times_s(self._spec, self._start_s, end_s)
            return np.stack([self._stored_at(time_s) for time_s in times_s])
        while len(squares) < self._spec.num_frames:
            squares.append(self._shown(self._frame[0]))
        return np.stack(squares)

    def _stored_at(self, time_s: float) -> NDArray[np.uint8]:
        """The last stored frame at or before a time; the first one if there is none."""
        shown = [square for at_s, square in self._stored if at_s <= time_s + EPSILON_S]
        return shown[-1] if shown else self._stored[0][1]

    def _forget(self) -> None:
        """Drop what no later window needs."""
        start_s = self._start_s
        begin = round(start_s * self._spec.rate_hz)
        while self._pieces and self._pieces[0][0] + len(self._pieces[0][1]) <= begin:
            self._pieces.popleft()
        for number in [number for number in self._open if number < self._number]:
            del self._open[number]
        while len(self._stored) > 1 and self._stored[1][0] <= start_s:
            self._stored.popleft()
        for known in self._arrivals.values():
            while len(known) > 1 and known[0][0] < start_s:
                known.popleft()
