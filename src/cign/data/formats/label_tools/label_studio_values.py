"""Values of Label Studio's results, read and written: regions of audio and video, and choices."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from cign.data.formats.label_tools.text import number_of, seconds_of
from cign.errors import InputError

# Keys of a value, in the order in which they are looked for.
_LABELS, _CHOICES = ("labels", "timelinelabels"), ("choices", "taxonomy")


class Part(NamedTuple):
    """A labelled part of a recording.

    Attributes:
        start_s: Start in seconds; the start of the recording if absent.
        end_s: End in seconds; the end of the recording if absent.
        labels: Its labels as written; none for a region that has no label yet.
    """

    start_s: float | None
    end_s: float | None
    labels: tuple[object, ...]


def parts_of(
    value: Mapping[str, Any], where: object, frame_rate: Callable[[], Fraction]
) -> list[Part] | None:
    """Read the regions of a value, or its choices for the whole recording.

    Args:
        value: The value of a result.
        where: Its place, for messages.
        frame_rate: Returns the frames per second; called only for ranges of frames.

    Returns:
        The parts; None for a value of another kind, such as a text.

    Raises:
        InputError: If a time or a range is no number.
    """
    key = next((key for key in (*_LABELS, *_CHOICES) if key in value), None)
    if key is None:
        has_times = "ranges" in value or {"start", "end"} <= set(value)
        return [Part(0.0, 1.0, ())] if has_times and "sequence" not in value else None
    given = value[key] if isinstance(value[key], list) else [value[key]]
    labels = tuple("/".join(map(str, one)) if isinstance(one, list) else one for one in given)
    if "ranges" in value:
        return [Part(*times, labels) for times in _ranges(value["ranges"], where, frame_rate)]
    if "start" in value or "end" in value:
        start_s, end_s = (seconds_of(value.get(name), name, where) for name in ("start", "end"))
        return [Part(start_s, end_s, labels)]
    return [Part(None, None, labels)]


def _ranges(
    ranges: object, where: object, frame_rate: Callable[[], Fraction]
) -> Iterator[tuple[float, float]]:
    """Yield the times of ranges of frames, which are numbered from 1 and include both ends."""
    for one in ranges if isinstance(ranges, list) else [ranges]:
        ends = (
            [number_of(one.get(name)) for name in ("start", "end")]
            if isinstance(one, dict)
            else [None]
        )
        if any(end is None or not end.is_integer() or not 1 <= end < 1e12 for end in ends):
            raise InputError("bad-list", f"{where}: {one!r} is not a range of frames: export again")
        rate = frame_rate()
        first, last = (int(end) for end in ends if end is not None)
        yield float((first - 1) / rate), float(last / rate)


class Target(NamedTuple):
    """Where a result belongs in the labelling interface.

    Attributes:
        from_name: Name of the control.
        to_name: Name of the object that it labels.
    """

    from_name: str
    to_name: str


def choices_result(
    target: Target, identity: str, labels: Sequence[str], score: float | None
) -> dict[str, Any]:
    """A result with choices for a whole recording.

    Args:
        target: Where it belongs.
        identity: Distinguishes it from the other results, see `result_id`.
        labels: The chosen names.
        score: Probability, if any.
    """
    return _result(target, identity, "choices", {"choices": list(labels)}, score)


def region_result(
    target: Target,
    identity: str,
    times_s: tuple[float, float],
    rate: Fraction | None,
    label: str,
    score: float | None,
) -> dict[str, Any]:
    """A result with a labelled region of audio or, with a frame rate, of a video's timeline.

    Args:
        target: Where it belongs.
        identity: Distinguishes it from the other results, see `result_id`.
        times_s: Start and end in seconds.
        rate: Frames per second of a video; None for audio.
        label: The label.
        score: Probability, if any.
    """
    start_s, end_s = times_s
    if rate is None:
        value: dict[str, Any] = {"start": start_s, "end": end_s, "channel": 0, "labels": [label]}
        return _result(target, identity, "labels", value, score)
    first = round(start_s * rate) + 1
    ranges = [{"start": first, "end": max(round(end_s * rate), first)}]
    value = {"ranges": ranges, "timelinelabels": [label]}
    return _result(target, identity, "timelinelabels", value, score)


def _result(
    target: Target, identity: str, kind: str, value: dict[str, Any], score: float | None
) -> dict[str, Any]:
    return {
        "id": result_id(identity),
        "from_name": target.from_name,
        "to_name": target.to_name,
        "type": kind,
        "value": value,
        **({} if score is None else {"score": round(score, 6)}),
    }


def result_id(identity: str) -> str:
    """The id of a result, the same each time for the same part and label."""
    return hashlib.sha256(identity.encode()).hexdigest()[:10]
