"""Map timestamps that restart within a file to one continuous clock.

In recordings that were concatenated (``cat a.ts b.ts``, chained Ogg streams, titles of a DVD),
timestamps restart or jump ahead where one part ends and the next begins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

# The decoding timestamps of a stream never decrease, except by rounding.
_BACK_S = 1.0
# A longer pause is a jump; the value is FFmpeg's dts_delta_threshold.
_AHEAD_S = 10.0


@dataclass
class Part:
    """One part of a file with a continuous clock; times are in the clock of the part.

    Attributes:
        starts_s: By stream index, the earliest presentation time.
        ends_s: By stream index, the latest end of a packet.
    """

    starts_s: dict[int, float] = field(default_factory=dict)
    ends_s: dict[int, float] = field(default_factory=dict)


class _Stretch:
    """A part while its packets are read: timestamps in ticks, by stream index."""

    def __init__(self) -> None:
        self.latest: dict[int, int] = {}
        self.starts: dict[int, int] = {}
        self.ends: dict[int, int] = {}


class PartFinder:
    """Finds the part of each packet, for packets in the order of the file.

    Args:
        ticks_s: Duration of a tick in seconds, by stream index.
    """

    def __init__(self, ticks_s: Mapping[int, float]) -> None:
        self._ticks_s = ticks_s
        self._back = {index: _BACK_S / tick_s for index, tick_s in ticks_s.items()}
        self._ahead = {index: _AHEAD_S / tick_s for index, tick_s in ticks_s.items()}
        self._stretches = [_Stretch()]
        self._number = dict.fromkeys(ticks_s, 0)

    def take(self, stream: int, order: int | None, start: int, end: int) -> int:
        """Process a packet; return the number of its part.

        Args:
            stream: Index of its stream.
            order: Its decoding time in ticks; None if it has none.
            start: Its presentation time in ticks.
            end: Its end in ticks.
        """
        stretch = self._stretches[self._number[stream]]
        if order is not None:
            latest = stretch.latest.get(stream)
            if latest is not None and not (
                -self._back[stream] <= order - latest <= self._ahead[stream]
            ):
                stretch = self._move(stream, order, order < latest)
            stretch.latest[stream] = order
        if stream not in stretch.starts:
            stretch.starts[stream], stretch.ends[stream] = start, end
        else:
            if start < stretch.starts[stream]:
                stretch.starts[stream] = start
            if end > stretch.ends[stream]:
                stretch.ends[stream] = end
        return self._number[stream]

    def _move(self, stream: int, order: int, is_back: bool) -> _Stretch:
        """Return the part in which a stream continues after a jump."""
        number, time_s = self._number[stream], order * self._ticks_s[stream]
        # A pause of one stream, during which another stream continues, is not a jump.
        if is_back or not self._is_near(number, time_s):
            later = range(number + 1, len(self._stretches))
            # Another stream may have reached the next part already: streams are interleaved.
            found = next((n for n in later if self._is_near(n, time_s)), None)
            if found is None:
                found = len(self._stretches)
                self._stretches.append(_Stretch())
            self._number[stream] = found
        return self._stretches[self._number[stream]]

    def _is_near(self, number: int, time_s: float) -> bool:
        """Return whether a decoding time continues a part."""
        latest = self._stretches[number].latest
        return any(
            abs(time_s - stamp * self._ticks_s[stream]) <= _AHEAD_S
            for stream, stamp in latest.items()
        )

    def parts(self, ticks: Mapping[int, Fraction]) -> list[Part]:
        """Return the parts found so far.

        Args:
            ticks: Duration of a tick in seconds, by stream index.
        """
        return [
            Part(
                {index: float(stamp * ticks[index]) for index, stamp in stretch.starts.items()},
                {index: float(stamp * ticks[index]) for index, stamp in stretch.ends.items()},
            )
            for stretch in self._stretches
        ]


def shifts_s(parts: Sequence[Part]) -> list[float]:
    """Return the seconds to add to each part so that it starts where the previous part ends."""
    found: list[float] = []
    end_s: float | None = None
    for part in parts:
        if not part.starts_s:
            found.append(found[-1] if found else 0.0)
            continue
        start_s = min(part.starts_s.values())
        found.append(0.0 if end_s is None else end_s - start_s)
        end_s = max(part.ends_s.values()) + found[-1]
    return found


class Joiner:
    """Maps the timestamps of packets, in the order of the file, to one clock.

    Args:
        shifts: The result of `shifts_s`.
        tracks: The streams that were read to compute the shifts.
    """

    def __init__(self, shifts: Sequence[float], tracks: Sequence[Any]) -> None:
        ticks_s = {track.index: float(track.time_base) for track in tracks}
        self._finder = PartFinder(ticks_s)
        self._ticks = [
            {index: round(shift_s / tick_s) for index, tick_s in ticks_s.items()}
            for shift_s in shifts
        ]

    def join(self, packet: Any) -> None:
        """Map the timestamps of a packet in place."""
        index, pts, dts = packet.stream_index, packet.pts, packet.dts
        order = pts if dts is None else dts
        number = self._finder.take(index, order, 0, 0)
        ticks = self._ticks[min(number, len(self._ticks) - 1)][index]
        if pts is not None:
            packet.pts = pts + ticks
        if dts is not None:
            packet.dts = dts + ticks
