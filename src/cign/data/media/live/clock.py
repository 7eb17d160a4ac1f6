"""Map the timestamps of a live connection to one clock without jumps, packet by packet."""

from __future__ import annotations

# The same limits as for files (`cign.data.media.joins`); those need all packets in advance.
_BACK_S = 1.0
_AHEAD_S = 10.0


class LiveClock:
    """Finds the shift of each packet, so that the times of a connection are continuous.

    Where the timestamps restart or jump (a splice, a restarted encoder), the new part is placed at
    the end of the previous part. A jump ahead that took as long to arrive is a pause and remains.

    Args:
        origin_s: Timestamp that is placed at ``begin_s``; None for that of the first packet.
        begin_s: Time of the origin in seconds of the stream.
        since_s: If given, the first packet is placed by its arrival instead, this many seconds of
            a monotonic clock after ``begin_s``: several devices have clocks of their own.
    """

    def __init__(
        self, origin_s: float | None, begin_s: float = 0.0, *, since_s: float | None = None
    ) -> None:
        self._begin_s = begin_s
        self._newest_s = None if origin_s is None else begin_s - origin_s
        self._since_s = since_s
        self._shifts_s: dict[int, float] = {}
        self._latest_s: dict[int, float] = {}
        self._arrived_s: dict[int, float] = {}
        self._end_s = begin_s
        self.num_jumps = 0

    @property
    def newest_shift_s(self) -> float | None:
        """Seconds to add to the timestamps that arrive now; None before the first packet."""
        return self._newest_s

    def at_arrival_s(self, arrived_s: float) -> float:
        """The time of the stream by arrival, for packets without timestamps."""
        self._since_s = arrived_s if self._since_s is None else self._since_s
        return self._begin_s + arrived_s - self._since_s

    def shift_s(self, stream: int, times_s: tuple[float, float, float], arrived_s: float) -> float:
        """Return the seconds to add to the timestamps of a packet.

        Args:
            stream: Index of its stream.
            times_s: Its decoding timestamp, its presentation timestamp and its end, in seconds.
            arrived_s: When it arrived, on a monotonic clock.
        """
        order_s, start_s, end_s = times_s
        if self._newest_s is None:
            waited_s = 0.0 if self._since_s is None else arrived_s - self._since_s
            self._newest_s = self._begin_s + waited_s - start_s
        shift_s = self._shifts_s.setdefault(stream, self._newest_s)
        latest_s = self._latest_s.get(stream)
        if latest_s is not None:
            step_s = order_s + shift_s - latest_s
            waited_s = arrived_s - self._arrived_s[stream]
            if not -_BACK_S <= step_s <= max(_AHEAD_S, 1.5 * waited_s):
                shift_s = self._shifts_s[stream] = self._after_jump(order_s, shift_s)
        self._latest_s[stream] = order_s + shift_s
        self._arrived_s[stream] = arrived_s
        self._end_s = max(self._end_s, end_s + shift_s)
        return shift_s

    def _after_jump(self, start_s: float, shift_s: float) -> float:
        """The shift of another stream that has jumped already, or a new one."""
        assert self._newest_s is not None
        apart_s = start_s + self._newest_s - self._end_s
        if self._newest_s != shift_s and -_AHEAD_S <= apart_s <= _AHEAD_S:
            return self._newest_s
        self.num_jumps += 1
        self._newest_s = self._end_s - start_s
        return self._newest_s
