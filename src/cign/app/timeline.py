"""The timeline of a long file: a strip for each class, with the parts in which it was found."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from cign.app.service import Service
from cign.data.clips import Clip
from cign.inference.predict import predict_files
from cign.inference.segment import Segment, SegmentRules, default_every_s
from cign.inference.segments import Merger
from cign.report.html import breakable
from cign.saved_model.model import Model
from cign.utils.wording import clock

_SHOW_EVERY_S = 1.5
_NUM_COLOURS = 6  # of app.css; further classes are grey
_UNKNOWN = "unknown"

# A click anywhere in a strip asks for that time; a segment chosen by keyboard for its middle.
ON_LOAD = """
element.addEventListener('click', event => {
  const lane = event.target.closest('.lane');
  if (!lane) return;
  const box = lane.getBoundingClientRect(), strip = lane.closest('.cign-timeline');
  const length = Number(strip.dataset.length);
  const own = event.target.closest('button');
  const at = event.detail === 0 && own ? Number(own.dataset.at)
    : length * Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1);
  strip.style.setProperty('--at', at / length);
  strip.classList.add('chosen');
  trigger('select', {at});
});
"""


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """What was found in a file so far.

    Attributes:
        segments: In the order of their start.
        duration_s: Length of the file in seconds.
        read_s: How far it was read, in seconds.
        error: Why it could not be read further; None if it could.
    """

    segments: tuple[Segment, ...]
    duration_s: float
    read_s: float
    error: str | None = None


def is_long(model: Model, duration_s: float) -> bool:
    """Whether a file has more than one window to show."""
    return duration_s >= model.media_spec.window_s + default_every_s(model)


def window_at(model: Model, clip: Path, at_s: float, duration_s: float) -> Clip:
    """The window of a file whose middle is at a time, or the nearest one within the file."""
    window_s = min(model.media_spec.window_s, duration_s)
    start_s = min(max(at_s - window_s / 2, 0.0), duration_s - window_s)
    return Clip(
        id=clip.name,
        path=clip,
        labels=(),
        split="test",
        start_s=round(start_s, 3),
        end_s=round(start_s + window_s, 3),
    )


def read_timeline(service: Service, clip: Path, duration_s: float) -> Iterator[Timeline]:
    """Predict all windows of a file.

    Args:
        service: The model.
        clip: The file.
        duration_s: Its length in seconds.

    Yields:
        What was found so far, every 1.5 seconds, and at the end.
    """
    model = service.model
    merger = Merger(SegmentRules.of_model(model), multi_label=model.method.setup.multi_label)
    found: list[Segment] = []
    read_s, error, last = 0.0, None, time.monotonic()
    for one in predict_files(
        model,
        service.backbone(model),
        [str(clip)],
        top=len(model.classes),
        every_s=default_every_s(model),
    ):
        if one.error is not None or one.end_s is None:
            error = one.error
            break
        found += merger.push(one)
        read_s = one.end_s
        if time.monotonic() - last >= _SHOW_EVERY_S:
            now = sorted([*found, *merger.running()], key=lambda segment: segment.start_s)
            yield Timeline(segments=tuple(now), duration_s=duration_s, read_s=read_s)
            last = time.monotonic()
    found = sorted([*found, *merger.close()], key=lambda segment: segment.start_s)
    yield Timeline(
        segments=tuple(found),
        duration_s=duration_s,
        read_s=read_s if error else duration_s,
        error=error,
    )


def strips(one: Timeline) -> str:
    """The timeline as HTML: a strip for each class, the first found at the top."""
    names = list(dict.fromkeys(_name(segment) for segment in one.segments))
    known = [name for name in names if name is not None]
    rows = []
    for name in [*known, *([None] if None in names else [])]:
        own = [segment for segment in one.segments if _name(segment) == name]
        place = known.index(name) if name is not None else _NUM_COLOURS
        rows.append(_strip(name, min(place, _NUM_COLOURS), own, one.duration_s))
    if not rows:
        rows = [_strip("", _NUM_COLOURS, (), one.duration_s)]
    if one.error is not None:
        about = f"Read to {_clock(one.read_s)}, then it failed: {escape(one.error)}."
    elif one.read_s < one.duration_s:
        about = f"Reading the whole file: {_clock(one.read_s)} of {_clock(one.duration_s)}."
    elif one.segments:
        about = "Choose a time to see its prediction and maps."
    else:
        about = "No class is probable enough for long enough."
    return (
        f"<section class='cign cign-timeline' data-length='{one.duration_s:.3f}'>"
        f"<h3>Whole file</h3><p class='soft small'>{about}</p>"
        f"<div class='lanes'>{''.join(rows)}<i class='here'></i></div>"
        f"<div class='times soft'><span>0:00</span><span>{_clock(one.duration_s / 2)}</span>"
        f"<span>{_clock(one.duration_s)}</span></div></section>"
    )


def _strip(name: str | None, place: int, own: Sequence[Segment], length_s: float) -> str:
    title = _UNKNOWN if name is None else name
    buttons = "".join(
        f"<button type='button' style='left:{100 * segment.start_s / length_s:.3f}%;"
        f"width:{100 * (segment.end_s - segment.start_s) / length_s:.3f}%' "
        f"data-at='{(segment.start_s + segment.end_s) / 2:.3f}' "
        f"title='{_described(segment, title)}' aria-label='{_described(segment, title)}'></button>"
        for segment in own
    )
    kind = " unknown" if name is None else ""
    return (
        f"<div class='row' style='--c:var(--s{place})'><span class='name'>{breakable(title)}</span>"
        f"<div class='lane{kind}'>{buttons}</div></div>"
    )


def _described(segment: Segment, title: str) -> str:
    nearest = f", nearest {segment.label}" if segment.is_unknown else ""
    times = f"{_clock(segment.start_s)} to {_clock(segment.end_s)}"
    return escape(f"{title}{nearest}, {times}, {segment.probability:.2f}", quote=True)


def _name(segment: Segment) -> str | None:
    """The strip that a segment is in; None is unknown."""
    return None if segment.is_unknown else segment.label


def _clock(value: float) -> str:
    """Minutes and seconds, with hours and tenths where they are needed."""
    return clock(value).removesuffix(".0")
