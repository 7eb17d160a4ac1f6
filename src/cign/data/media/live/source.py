"""A live source: connects, reads windows, and connects again after an interruption."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av

from cign.data.media.addresses import Address
from cign.data.media.container import MediaError, reason
from cign.data.media.decode import MediaSpec
from cign.data.media.live.assembler import Window, WindowAssembler
from cign.data.media.live.clock import LiveClock
from cign.data.media.live.growing import GrowingFile
from cign.data.media.live.opening import (
    Connection,
    StreamError,
    open_device,
    open_growing,
    open_url,
)
from cign.data.media.live.session import Session
from cign.data.media.live.waiting import Item, Waiting
from cign.utils.wording import duration

# Waits between attempts grow from half a second.
_FIRST_WAIT_S, _GROWTH, _LONGEST_WAIT_S = 0.5, 1.5, 30.0
# A source that gets ahead of real time by more than this within so long is not sent in real time.
# HLS and servers with a buffer begin so.
_AHEAD_S = 3.0
_RECENT_S = 30.0
# Timestamps that go on after an interruption are believed if they fit the time it took so well.
_FITS_S = 10.0
_POLL_S = 0.2


@dataclass(frozen=True, kw_only=True)
class LiveOptions:
    """How live sources are read.

    Attributes:
        every_s: Seconds between the starts of windows; None for the length of a window.
        timeout_s: Seconds without data after which a connection is lost, or a file is finished.
        reconnect_s: Seconds for which a lost source is tried again; None for 30 after an error and
            0 after an end.
        follow: Whether to wait for sources that are not there yet or have ended, without limit.
        options: Options of FFmpeg for opening, by name.
    """

    every_s: float | None = None
    timeout_s: float = 10.0
    reconnect_s: float | None = None
    follow: bool = False
    options: Mapping[str, str] = field(default_factory=dict)


class LiveSource:
    """Reads one source in threads of its own and passes its windows on.

    Args:
        place: The URL, the devices, or a file that grows.
        number: Its index among the sources.
        spec: Frames and audio of a window.
        how: How it is read.
        waiting: Receives windows, remarks and the end.
        first: Its connection, if it is open already.
    """

    def __init__(
        self,
        place: Address | Path,
        number: int,
        spec: MediaSpec,
        how: LiveOptions,
        waiting: Waiting,
        first: Connection | None = None,
    ) -> None:
        self._place, self._number, self._spec, self._how = place, number, spec, how
        self._waiting = waiting
        self._first = [first] if first is not None else None
        self._every_s = how.every_s or spec.window_s
        self._file: GrowingFile | None = None
        self._begun_s: float | None = None  # monotonic time of the first packet
        self._end_s = 0.0  # time of the stream so far
        self._next_s = 0.0  # start of the next window
        self._shift_s: float | None = None
        self._is_paced, self._is_finite = True, False
        self._resume_at = 0
        self._ahead: deque[tuple[float, float]] = deque()
        self._best_s = 0.0

    def start(self) -> None:
        """Start reading in the background."""
        threading.Thread(target=self._work, name="live", daemon=True).start()

    def _work(self) -> None:
        try:
            error = self._run()
        except Exception as raised:  # a failure of one source must not stop the others
            error = StreamError(f"reading failed: {raised}")
        what = {} if error is None else {"error": error.detail, "code": error.code}
        self._put(is_end=True, **what)

    def _run(self) -> MediaError | None:
        """Read until the end; return the error that ended it, if any."""
        lost_s: float | None = None  # since when nothing was received
        wait_s, had_ended = _FIRST_WAIT_S, False
        while not self._waiting.stopped.is_set():
            error: StreamError | None = None
            num_windows = 0
            try:
                session = self._session()
                if lost_s is not None:
                    self._note(f"it is back after {duration(time.monotonic() - lost_s)}")
                error = self._watch(session)
                num_windows = session.num_windows
                if self._is_over(session, error):
                    return None
            except StreamError as raised:
                error = raised
                if isinstance(self._place, Path):
                    return raised if self._begun_s is None else None
                if not self._how.follow and (raised.is_final or self._begun_s is None):
                    return raised
            if num_windows or lost_s is None:
                lost_s, wait_s, had_ended = time.monotonic(), _FIRST_WAIT_S, error is None
                self._note(f"{'it ended' if error is None else error.detail}; trying again")
            if not self._may_retry(had_ended, lost_s):
                return None if had_ended else error
            self._waiting.stopped.wait(wait_s)
            wait_s = min(_GROWTH * wait_s, _LONGEST_WAIT_S)
        return None

    def _is_over(self, session: Session, error: StreamError | None) -> bool:
        """Whether a source has ended as it should; its last windows are then emitted."""
        if error is not None or self._waiting.stopped.is_set():
            return self._waiting.stopped.is_set()
        if isinstance(self._place, Path):
            session.finish()
            return self._file is None or not self._file.is_replaced
        is_over = self._is_finite or not (self._how.follow or self._how.reconnect_s)
        if is_over:
            session.finish()
        return is_over

    def _may_retry(self, had_ended: bool, lost_s: float) -> bool:
        if self._how.follow:
            return True
        limit_s = self._how.reconnect_s
        if limit_s is None:
            limit_s = 0.0 if had_ended else 30.0
        return time.monotonic() - lost_s < limit_s

    def _open(self) -> list[Connection]:
        if self._first is not None:
            connections, self._first = self._first, None
            return connections
        how = self._how
        if isinstance(self._place, Path):
            return [self._open_file(self._place)]
        if not self._place.devices:
            return [open_url(self._place, how.options, how.timeout_s)]
        opened: list[Connection] = []
        try:
            for device in self._place.devices:
                connection = open_device(device, how.options, how.timeout_s)
                for kind in [k for one in opened for k in one.tracks if k in connection.tracks]:
                    del connection.tracks[kind]  # the camera's own microphone, for example
                opened.append(connection)
        except StreamError:
            for one in opened:
                one.close()
            raise
        return [one for one in opened if one.tracks]

    def _open_file(self, path: Path) -> Connection:
        start = 0
        if self._file is not None:
            start = 0 if self._file.is_replaced else self._resume_at
            self._file.close()
        try:
            self._file = GrowingFile(path, self._how.timeout_s, self._waiting.stopped, start)
        except OSError as error:
            raise StreamError(f"it cannot be opened: {error.strerror}") from None
        return open_growing(self._file)

    def _session(self) -> Session:
        """Connect and begin to read."""
        connections = self._open()
        first = connections[0]
        self._is_finite = first.is_finite and not isinstance(self._place, Path)
        kinds = frozenset(kind for one in connections for kind in one.tracks)
        starts_s = [
            float(track.start_time * track.time_base)
            for track in first.tracks.values()
            if track.start_time is not None
        ]
        origin_s = min(starts_s, default=None)
        begin_s = self._begin_s(origin_s)
        if len(connections) > 1:
            now_s = time.monotonic()
            clocks = [LiveClock(None, begin_s, since_s=now_s) for _ in connections]
        else:
            clocks = [LiveClock(origin_s, begin_s)]
        self._clock = clocks[0]
        from_s = max(begin_s, self._next_s)
        assembler = WindowAssembler(self._spec, self._every_s, kinds, from_s)
        self._session_begin_s = begin_s
        session = Session(connections, assembler, clocks, self._emit)
        self._current = session
        self._ahead.clear()
        session.start()
        return session

    def _begin_s(self, origin_s: float | None) -> float:
        """Time of the stream at which a connection begins.

        After an interruption the timestamps go on if they fit the time that has passed; otherwise
        the time that has passed decides, or, of a source faster than real time, the end.
        """
        if self._begun_s is None:
            return 0.0
        passed_s = max(time.monotonic() - self._begun_s, self._end_s)
        if origin_s is not None and self._shift_s is not None:
            goes_on_s = origin_s + self._shift_s
            if self._end_s - _FITS_S <= goes_on_s <= passed_s + _FITS_S:
                return goes_on_s
        return passed_s if self._is_paced else self._end_s

    def _watch(self, session: Session) -> StreamError | None:
        """Wait until a session ends or is silent; return the error, None at the end of a stream."""
        patience_s = max(self._how.timeout_s * 1.5, self._how.timeout_s + 1.0)
        while not session.ended.wait(_POLL_S):
            if self._waiting.stopped.is_set():
                session.abandon()
                return None
            if self._begun_s is None and session.begun_s is not None:
                self._begun_s = session.begun_s
            # A file decides by itself when it is finished; HLS may pause for a segment.
            is_slow = isinstance(self._place, Path) or self._place.is_hls
            if not is_slow and time.monotonic() - session.packet_s > patience_s:
                session.abandon()
                self._remember(session)
                return StreamError(f"its tracks have sent nothing for {patience_s:g} s")
        if session.error is not None:
            session.abandon()
        self._remember(session)
        if session.error is None:
            return None
        if isinstance(session.error, StreamError):
            return session.error
        if isinstance(session.error, av.error.ExitError):
            return StreamError(f"no data for {self._how.timeout_s:g} s")
        return StreamError(f"the connection broke off ({reason(session.error)})")

    def _remember(self, session: Session) -> None:
        if self._begun_s is None:
            self._begun_s = session.begun_s
        self._end_s = max(self._end_s, session.reached_s)
        self._shift_s = self._clock.newest_shift_s
        if self._file is not None:
            known = session.failed_at
            self._resume_at = self._file.position if known is None else self._file.start + known

    def _emit(self, window: Window) -> None:
        """Pass a window on; wait first if the source is ahead of real time."""
        gained_s = self._gained_s(window.decoded.end_s)
        is_stored = self._is_finite or isinstance(self._place, Path)
        self._is_paced = not self._is_finite and gained_s <= _AHEAD_S
        self._next_s = window.decoded.start_s + self._every_s
        item = Item(source=self._number, window=window, is_paced=self._is_paced)
        # What is stored can wait; a stream cannot, unless it is faster than real time.
        self._waiting.put_window(item, 1e9 if is_stored else gained_s)

    def _gained_s(self, end_s: float) -> float:
        """Seconds by which the source is further ahead of real time than ever until 30 s ago.

        A source that catches up after a stall gains nothing.
        """
        now_s = time.monotonic()
        ahead_s = end_s - now_s
        if not self._ahead:
            self._best_s = self._session_begin_s - (self._current.begun_s or now_s)
        self._ahead.append((now_s, ahead_s))
        while now_s - self._ahead[0][0] > _RECENT_S:
            self._best_s = max(self._best_s, self._ahead.popleft()[1])
        return max(ahead_s - self._best_s, 0.0)

    def _note(self, text: str) -> None:
        self._put(note=text)

    def _put(self, **what: Any) -> None:
        self._waiting.put(Item(source=self._number, **what))
