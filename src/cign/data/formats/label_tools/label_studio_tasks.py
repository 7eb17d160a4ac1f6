"""Tasks for Label Studio: pre-annotations of a model, or annotations of a list."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any
from urllib.parse import quote

from cign.data.formats.label_tools.label_studio_values import (
    Target,
    choices_result,
    region_result,
)
from cign.data.formats.label_tools.recordings import frame_rate
from cign.data.formats.label_tools.text import attributes
from cign.data.formats.label_tools.tracks import MODEL, Span, Track, register_writer, with_ends
from cign.data.media.recognition import AUDIO_SUFFIXES
from cign.utils.file_text import escape_name

_CONTROL, _CLASS = "label", "class"


@register_writer("label-studio")
def write_label_studio(tracks: Sequence[Track]) -> Iterator[tuple[str, str]]:
    """Yield the tasks of all audio files and of all videos, each with its labelling interface.

    Predictions become pre-annotations with scores, clips of a list completed annotations. Regions
    are in seconds on audio, in frames on video; clips of a whole file are choices.

    Raises:
        InputError: If the frame rate of a video is needed and the file cannot be opened.
    """
    for kind in ("audio", "video"):
        own = [track for track in tracks if _kind(track) == kind]
        if own:
            tasks = [_task(track, kind) for track in own]
            text = json.dumps(tasks, indent=2, ensure_ascii=False, allow_nan=False)
            yield f"{kind}.json", text + "\n"
            yield f"{kind}-interface.xml", _interface(own, kind)


def _kind(track: Track) -> str:
    return "audio" if track.path.suffix.lower() in AUDIO_SUFFIXES else "video"


def _task(track: Track, kind: str) -> dict[str, Any]:
    whole = [span for span in track.spans if span.start_s is None and span.end_s is None]
    parts = [span for span in track.spans if span not in whole]
    rate = frame_rate(track.path, track.name) if parts and kind == "video" else None
    ends = {span: with_ends(_only(track, span)).spans[0] for span in parts}
    results = [_choice(track, kind, span) for span in whole]
    results += [
        _region(track, kind, ends[span], rate, label) for span in parts for label in span.labels
    ]
    answer: dict[str, Any] = {"result": results}
    if track.is_predicted:
        scores = [span.score for span in track.spans if span.score is not None]
        answer["model_version"] = MODEL
        if scores:
            answer["score"] = round(sum(scores) / len(scores), 6)
    place = quote(escape_name(track.name))
    key = "predictions" if track.is_predicted else "annotations"
    return {"data": {kind: f"/data/local-files/?d={place}"}, key: [answer]}


def _only(track: Track, span: Span) -> Track:
    return Track(name=track.name, path=track.path, spans=(span,))


def _choice(track: Track, kind: str, span: Span) -> dict[str, Any]:
    return choices_result(Target(_CLASS, kind), _identity(track, span, ""), span.labels, span.score)


def _region(
    track: Track, kind: str, span: Span, rate: Fraction | None, label: str
) -> dict[str, Any]:
    assert span.start_s is not None
    assert span.end_s is not None
    times_s, identity = (span.start_s, span.end_s), _identity(track, span, label)
    return region_result(Target(_CONTROL, kind), identity, times_s, rate, label, span.score)


def _identity(track: Track, span: Span, label: str) -> str:
    return f"{escape_name(track.name)}\0{span.start_s}\0{span.end_s}\0{label}"


def _interface(tracks: Sequence[Track], kind: str) -> str:
    """The labelling interface of a project that fits the tasks."""
    names = sorted({name for track in tracks for name in track.class_names})
    has_whole = any(s.start_s is None and s.end_s is None for t in tracks for s in t.spans)
    has_parts = any(s.start_s is not None or s.end_s is not None for t in tracks for s in t.spans)
    control = {"audio": "Labels", "video": "TimelineLabels"}[kind]
    lines = ["<View>"]
    if has_parts:
        lines.append(f"  <{control}{attributes({'name': _CONTROL, 'toName': kind})}>")
        lines += [f"    <Label{attributes({'value': name})}/>" for name in names]
        lines.append(f"  </{control}>")
    if has_whole:
        head = {"name": _CLASS, "toName": kind, "choice": "multiple"}
        lines.append(f"  <Choices{attributes(head)}>")
        lines += [f"    <Choice{attributes({'value': name})}/>" for name in names]
        lines.append("  </Choices>")
    media: dict[str, object] = {"name": kind, "value": f"${kind}"}
    if kind == "video" and has_parts:
        media["frameRate"] = f"{float(frame_rate(tracks[0].path, tracks[0].name)):g}"
    lines += [f"  <{kind.capitalize()}{attributes(media)}/>", "</View>"]
    return "\n".join(lines) + "\n"
