"""Timestamps that restart within a file, and one clock that runs through all of its parts.

Recordings that were joined end to end (``cat a.ts b.ts``, chained Ogg streams, titles of a DVD)
begin their timestamps again, or jump ahead, where one part ends and the next begins.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

# A stream's decoding timestamps never fall, but rounding may let them seem to.
_BACK_S = 1.0
# A longer pause than this is a jump, as FFmpeg has it (its dts_delta_threshold).
_AHEAD_S = 10.0


@dataclass
class Part:
    """One stretch of a file with an unbroken clock.

    Attributes:
        latest_s: By stream index, the last decoding time that was read.
        starts_s: By stream index, the earliest presentation time, in the clock of the part.
        ends_s: By stream index, the latest end of a packet.
    """

    latest_s: dict[int, float] = field(default_factory=dict)
    starts_s: dict[int, float] = field(default_factory=dict)
    ends_s: dict[int, float] = field(default_factory=dict)

    def extend(self, stream: int, start_s: float, end_s: float) -> None:
        """Take in the times of a packet."""
        self.starts_s[stream] = min(self.starts_s.get(stream, start_s), start_s)
        self.ends_s[stream] = max(self.ends_s.get(stream, end_s), end_s)

    def is_near(self, time_s: float) -> bool:
        """Whether a decoding time continues what was read of this part."""
        return any(abs(time_s - latest_s) <= _AHEAD_S for latest_s in self.latest_s.values())


class PartFinder:
    """Tells the part that each packet belongs to, for packets in the order of the file."""

    def __init__(self) -> None:
        self.parts = [Part()]
        self._number: dict[int, int] = {}

    def of(self, stream: int, time_s: float | None) -> int:
        """Number of the part of a packet.

        Args:
            stream: Index of its stream.
            time_s: Its decoding time as the file has it; None for packets without.
        """
        number = self._number.get(stream, 0)
        if time_s is None:
            return number
        latest_s = self.parts[number].latest_s.get(stream)
        if latest_s is not None and self._jumps(number, time_s, latest_s):
            later = range(number + 1, len(self.parts))
            # Another stream may have come to the next part already: streams are interleaved.
            found = next((n for n in later if self.parts[n].is_near(time_s)), None)
            if found is None:
                found = len(self.parts)
                self.parts.append(Part())
            number = found
        self._number[stream] = number
        self.parts[number].latest_s[stream] = time_s
        return number

    def _jumps(self, number: int, time_s: float, latest_s: float) -> bool:
        if time_s < latest_s - _BACK_S:
            return True
        # A pause of one stream only, which the other goes through, is no jump.
        return time_s > latest_s + _AHEAD_S and not self.parts[number].is_near(time_s)


def shifts_s(parts: Iterable[Part]) -> list[float]:
    """Seconds to add to the times of each part, so that it begins where the one before ends."""
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


def order_s(packet: Any) -> float | None:
    """The decoding time of a packet, by which the packets of a stream are in order."""
    stamp = packet.dts if packet.dts is not None else packet.pts
    return None if stamp is None else float(stamp * packet.time_base)


class Joiner:
    """Gives packets, in the order of the file, the times of one clock.

    Args:
        shifts: As `shifts_s` gives them.
    """

    def __init__(self, shifts: Sequence[float]) -> None:
        self._shifts = shifts
        self._finder = PartFinder()

    def join(self, packet: Any) -> None:
        """Change the timestamps of a packet."""
        number = self._finder.of(packet.stream.index, order_s(packet))
        number = min(number, len(self._shifts) - 1)
        ticks = round(self._shifts[number] / packet.time_base)
        if not ticks:
            return
        if packet.pts is not None:
            packet.pts += ticks
        if packet.dts is not None:
            packet.dts += ticks
