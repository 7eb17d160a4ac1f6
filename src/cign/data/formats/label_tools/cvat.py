"""Tracks of CVAT (Computer Vision Annotation Tool): the XML format "CVAT for video 1.1".

CVAT exports no CSV, and no times: a track is a label on a range of frames, numbered from the start
of the video. The frame rate is that of the video file.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from pathlib import Path

from cign.data.formats.label_tools.recordings import frame_rate, frame_size
from cign.data.formats.label_tools.segments import Place, Segments
from cign.data.formats.label_tools.text import (
    attributes,
    begin_of,
    is_label_folder,
    label_files,
    parse_xml,
    text_node,
)
from cign.data.formats.label_tools.tracks import Track, intervals, register_writer
from cign.data.formats.listing import Listing
from cign.data.formats.registry import register_format
from cign.errors import InputError
from cign.utils.file_text import escape_name

_WHAT = "export of CVAT"
_STEP = re.compile(r"step=(\d{1,6})")


def is_cvat(path: Path, source: Path) -> bool:
    """Whether a file is an export of CVAT, by its first elements."""
    begin = begin_of(path)
    return "<annotations>" in begin and "<version>1.1" in begin and is_label_folder(source)


@register_format(
    "cvat", files=(re.compile(r".*\.xml", re.IGNORECASE),), content=is_cvat, states_splits=False
)
def read_cvat(source: Path, media: Sequence[Path] = ()) -> Listing:
    """Read the visible ranges of tracks as segments; positions of shapes are not used.

    Args:
        source: An export, or a folder with exports at any depth.
        media: Folders with the videos, for their frame rates; the folder of the exports if empty.

    Raises:
        InputError: If there is no export, one is damaged or of another kind, or a video is missing.
    """
    segments = Segments(source, media)
    paths = label_files(source, (".xml",), "CVAT")
    exports = [path for path in paths if source.is_file() or is_cvat(path, path)]
    if not exports:
        raise InputError(
            "wrong-format",
            f"folder {source} contains no export of CVAT: export tasks as 'CVAT for video 1.1'",
        )
    for path in exports:
        _read_export(path, segments)
    return segments.listing()


def _read_export(path: Path, segments: Segments) -> None:
    root = parse_xml(path, _WHAT)
    if root.tag != "annotations" or root.find("image") is not None:
        raise InputError(
            "wrong-format", f"{path} is not an export of tracks: export as 'CVAT for video 1.1'"
        )
    if root.find("meta/project") is not None:
        raise InputError(
            "unsupported", f"{path} is the export of a project: export its tasks one by one"
        )
    name = next((one.text or "" for one in root.iter("source")), "").strip()
    recording = segments.recordings.find((name or f"{path.stem}.mp4",), path, path)
    match = _STEP.search(next((one.text or "" for one in root.iter("frame_filter")), ""))
    step = max(int(match[1]), 1) if match else 1
    for track in root.iter("track"):
        where = Place(path, f"track {track.get('id')}")
        for first, end in _visible(track, step, where):
            rate = segments.recordings.frame_rate(recording, where)
            labels = (track.get("label", ""),)
            segments.add(recording, float(first / rate), float(end / rate), labels, where)


def _visible(track: ElementTree.Element, step: int, where: Place) -> Iterator[tuple[int, int]]:
    """Yield the ranges of frames in which a track is visible; the end is the first frame after.

    CVAT lists every frame of a track, and ends it with a shape that is outside. Without that
    shape it ends after its last frame.
    """
    shapes = sorted((_frame(shape, where), shape.get("outside") == "1") for shape in track)
    first: int | None = None
    for frame, is_outside in shapes:
        if first is None and not is_outside:
            first = frame
        elif first is not None and is_outside:
            yield first, frame
            first = None
    if first is not None:
        yield first, shapes[-1][0] + step


def _frame(shape: ElementTree.Element, where: Place) -> int:
    text = shape.get("frame", "")
    if not text.isascii() or not text.isdecimal() or len(text) > 12:
        raise InputError("bad-list", f"{where}: frame {text!r} is not a number; export again")
    return int(text)


@register_writer("cvat")
def write_cvat(tracks: Sequence[Track]) -> Iterator[tuple[str, str]]:
    """Yield an export per video; a span of several labels is several tracks.

    Each track is a box around the whole frame, since CVAT has no track without a shape. Times are
    rounded to frames.

    Raises:
        InputError: If a video is missing, or a recording has no video.
    """
    for track in tracks:
        yield track.file_name(".xml"), _export(track)


def _export(track: Track) -> str:
    rate = frame_rate(track.path, f"--to cvat, recording {track.name}")
    width, height = frame_size(track.path)
    box = {"xtl": "0.00", "ytl": "0.00", "xbr": f"{width:.2f}", "ybr": f"{height:.2f}"}
    body, last = [], 0
    for number, (start_s, end_s, label) in enumerate(intervals(track)):
        first = round(start_s * rate)
        end = max(round(end_s * rate), first + 1)
        last = max(last, end)
        kind = "auto" if track.is_predicted else "manual"
        head = attributes({"id": number, "label": label, "source": kind})
        body.append(f"  <track{head}>\n")
        for frame, is_outside in ((first, 0), (end, 1)):
            shape = {"frame": frame, "keyframe": 1, "outside": is_outside, "occluded": 0}
            body.append(f"    <box{attributes({**shape, **box, 'z_order': 0})}></box>\n")
        body.append("  </track>\n")
    labels = "".join(
        f"<label>{text_node('name', name).strip()}<attributes></attributes></label>"
        for name in track.class_names
    )
    name = escape_name(track.path.name)
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n'
        f"  <meta>\n    <task>\n{text_node('name', name, ' ' * 6)}"
        f"      <mode>interpolation</mode>\n      <start_frame>0</start_frame>\n"
        f"      <stop_frame>{last}</stop_frame>\n      <frame_filter></frame_filter>\n"
        f"      <labels>{labels}</labels>\n"
        f"      <original_size><width>{width}</width><height>{height}</height></original_size>\n"
        f"{text_node('source', name, ' ' * 6)}    </task>\n  </meta>\n{''.join(body)}"
        "</annotations>\n"
    )
