"""Label tracks of Audacity: lines of start, end and label, separated by tabs.

A second line with a backslash gives the frequencies of a spectral selection. The label file has
the name of its recording.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from cign.data.formats.label_tools.segments import POINT, Place, Segments
from cign.data.formats.label_tools.text import (
    begin_of,
    is_label_folder,
    label_files,
    no_media,
    number_of,
    plain,
    read_label_text,
)
from cign.data.formats.label_tools.tracks import Track, intervals, register_writer
from cign.data.formats.listing import Listing
from cign.data.formats.registry import register_format
from cign.data.media.recognition import has_media_suffix
from cign.data.walking import visible
from cign.errors import InputError
from cign.utils.wording import listed

_WHAT = "label track"
_SPECTRAL = "\\\t"
_MAX_NAMED = 3


def is_audacity(path: Path, source: Path) -> bool:
    """Whether a file is a label track; in a folder also whether its recording is there."""
    if not _is_track(begin_of(path)) or not is_label_folder(source):
        return False
    if source.is_file() or no_media(source):
        return True
    return any(other.stem in _stems(path) and has_media_suffix(other) for other in visible(source))


def _is_track(begin: str) -> bool:
    lines = [line for line in begin.splitlines() if line.strip() and not line.startswith("\\")]
    first = lines[0].split("\t") if lines else []
    return len(first) > 1 and all(number_of(value) is not None for value in first[:2])


@register_format(
    "audacity",
    files=(re.compile(r".*\.txt", re.IGNORECASE),),
    content=is_audacity,
    states_splits=False,
)
def read_audacity(source: Path, media: Sequence[Path] = ()) -> Listing:
    """Read label tracks as segments of the recordings of the same name.

    Args:
        source: A label track, or a folder with label tracks at any depth.
        media: Folders with the recordings; the folder of the tracks if empty.

    Raises:
        InputError: If there is no label track, or a line is wrong.
    """
    segments = Segments(source, media)
    others = []
    for path in label_files(source, (".txt",), _WHAT):
        text = read_label_text(path, _WHAT)
        is_other = not _is_track(text) and not any(map(segments.recordings.has_stem, _stems(path)))
        if source.is_dir() and text.strip() and is_other:
            others.append(segments.entry_of(Place(path, "")))
            continue
        _read_track(path, text, segments)
    is_one = len(others) == 1
    are = "file is not a label track and was" if is_one else "files are not label tracks and were"
    note = f"{len(others)} {are} ignored: {listed(others, _MAX_NAMED)}"
    return segments.listing((note,) if others else ())


def _stems(path: Path) -> tuple[str, ...]:
    """Names that the recording of a track may have: of ``rec.txt``, of ``rec.wav.txt``."""
    return (path.stem, Path(path.stem).stem)


def _read_track(path: Path, text: str, segments: Segments) -> None:
    recording = None
    for number, line in enumerate(text.split("\n"), 1):
        where = Place(path, f"line {number}")
        if not line.strip() or line.startswith(_SPECTRAL):
            continue
        values = line.split("\t", 2)
        times = [number_of(value) for value in values[:2]]
        if times[0] is None or len(values) < 2 or (times[1] is None and len(values) > 2):
            raise InputError(
                "bad-list",
                f"{where} is not START, END and LABEL, separated by tabs: correct it, or export "
                "the labels of Audacity again",
            )
        if times[1] is None:  # older versions write a point as its time and label
            segments.ignore(where, POINT)
            continue
        recording = recording or segments.recordings.find_stem(_stems(path), path)
        segments.add(recording, times[0], times[1], values[2:], where)


@register_writer("audacity")
def write_audacity(tracks: Sequence[Track]) -> Iterator[tuple[str, str]]:
    """Yield a label track per recording; a span of several labels is several lines."""
    for track in tracks:
        lines = [
            f"{plain(start_s)}\t{plain(end_s)}\t{label}\n"
            for start_s, end_s, label in intervals(track)
        ]
        yield track.file_name(".txt"), "".join(lines)
