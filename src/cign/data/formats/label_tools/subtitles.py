"""SubRip subtitles (SRT): labels shown over the video by any player."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from cign.data.formats.label_tools.tracks import Track, intervals

SRT = "srt"


def write_srt(tracks: Sequence[Track]) -> Iterator[tuple[str, str]]:
    """Yield subtitles per recording, with times in whole milliseconds.

    Players show one subtitle at a time or let them cover each other: where spans overlap, one
    subtitle has the labels of all, a line each.

    Raises:
        InputError: If the end of a recording is needed and the file cannot be opened.
    """
    for track in tracks:
        cues = [
            f"{number}\n{_time(start_ms)} --> {_time(end_ms)}\n{text}\n"
            for number, (start_ms, end_ms, text) in enumerate(_cues(track), 1)
        ]
        yield track.file_name(".srt"), "\n".join(cues)


def _cues(track: Track) -> Iterator[tuple[int, int, str]]:
    """Start and end in milliseconds, and the text, of parts with the same labels."""
    spans = [
        (round(1000 * start), round(1000 * end), label) for start, end, label in intervals(track)
    ]
    edges = sorted({edge for start, end, _ in spans for edge in (start, end)})
    before: tuple[int, int, str] | None = None
    for start, end in pairwise(edges):
        labels = [label for first, last, label in spans if first <= start and end <= last]
        text = "\n".join(dict.fromkeys(labels))
        if before is not None and before[1:] == (start, text):
            before = (before[0], end, text)
            continue
        if before is not None and before[2]:
            yield before
        before = (start, end, text)
    if before is not None and before[2]:
        yield before


def _time(milliseconds: int) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    minutes, second = divmod(seconds, 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{second:02},{rest:03}"
