"""A clip's length and its centre, from the streams that are read, in their own clock.

The length that a container states is where its longest stream ends: in Matroska and Ogg counted
from time 0, not from the first timestamp, and with subtitles and every other stream. It is taken
only as the more exact figure, where it agrees with where the streams end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cign.data.media.spans import Span, Spans, claimed_s, find_spans, is_guessed, scan

# The end of a last packet is known to its duration, or to what is trimmed from it.
_AGREE_S = 0.1
# Packets that end so much before the header says: the file breaks off.
CUT_S = 0.25
_COVER_S = 0.5
# Names the video track of an image and a sound that were put together: it is no cover art.
IMAGE_TAG = "IMAGE_OF_A_CLIP"
# A header with a length this many times what is there was written before the length was known.
_PLACEHOLDER = 20


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """Where the streams of a clip lie.

    Attributes:
        origins_s: For the index of each stream the time in the file that is 0 of the clip.
        duration_s: From the beginning of the earlier stream to the end of the later one.
        is_stated: Whether this is what the header lists, and has not been looked at.
        is_scanned: Whether everything was read to find it.
        is_cut: Whether the file ends before its header says.
        absent: Indices of streams without packets, or of which one frame is cover art.
        shifts_s: For files whose timestamps restart, see `cign.data.media.joins.shifts_s`.
        keys_s: For such files the times of the key frames.
        notes: Name and detail of what is odd.
    """

    origins_s: dict[int, float]
    duration_s: float
    is_stated: bool
    is_scanned: bool
    is_cut: bool
    absent: frozenset[int]
    shifts_s: tuple[float, ...]
    keys_s: tuple[float, ...]
    notes: tuple[tuple[str, str], ...]


def measure(container: Any, video: Any | None, audio: Any | None) -> Timeline:
    """Find where a clip begins and ends.

    Args:
        container: The container of PyAV, just opened.
        video: The video stream that will be decoded, if any.
        audio: The audio stream that will be decoded, if any.
    """
    tracks = {track.index: track for track in (video, audio) if track is not None}
    found = find_spans(container, list(tracks.values()))
    spans = dict(found.by_stream)
    notes: list[tuple[str, str]] = []
    if video is not None and audio is not None and _is_cover(spans, video, audio):
        del spans[video.index]
        notes.append(("cover art", "the only frame of its video track"))
    if found.shifts_s:
        notes.append(("joined", f"timestamps restart: {len(found.shifts_s)} parts were joined"))
    ordered = sorted(spans.items(), key=lambda item: item[1].start_s)
    origin_s = round(ordered[0][1].start_s, 6) if ordered else 0.0
    origins_s = dict.fromkeys(tracks, origin_s)
    length_s = max((span.end_s - origin_s for span in spans.values()), default=0.0)
    apart_s = ordered[1][1].start_s - ordered[0][1].end_s if len(ordered) > 1 else 0.0
    is_cut = found.is_broken
    if apart_s > 0:
        # They were stamped by different clocks: the two have no time in common.
        for index, span in ordered:
            origins_s[index] = round(span.start_s, 6)
        length_s = max(span.end_s - span.start_s for span in spans.values())
        late = tracks[ordered[1][0]].type
        notes.append(
            (
                "tracks apart",
                f"its {late} track begins {apart_s:.1f} s after the other one ends: each was "
                "taken from its own beginning",
            )
        )
    elif not is_guessed(container):
        length_s, is_short = _compare(container, length_s, spans, found)
        is_cut |= is_short
    return Timeline(
        origins_s=origins_s,
        duration_s=length_s,
        is_stated=found.is_stated,
        is_scanned=found.is_scanned,
        is_cut=is_cut,
        absent=frozenset(tracks) - frozenset(spans) if spans else frozenset(),
        shifts_s=found.shifts_s,
        keys_s=found.keys_s,
        notes=tuple(notes),
    )


def _is_cover(spans: dict[int, Span], video: Any, audio: Any) -> bool:
    """Whether a video stream is a single frame beside audio that goes on."""
    if {video.index, audio.index} - set(spans) or spans[video.index].num_packets != 1:
        return False
    rest_s = spans[audio.index].end_s - spans[video.index].end_s
    return rest_s >= _COVER_S and IMAGE_TAG not in video.metadata


def _compare(
    container: Any, length_s: float, spans: dict[int, Span], found: Spans
) -> tuple[float, bool]:
    """The length by what the container states, and whether the file ends before that."""
    stated_s = claimed_s(container)
    if stated_s is None or not spans:
        return length_s, False
    if abs(stated_s - length_s) <= _AGREE_S:
        return stated_s, False
    is_early = _ends_early(stated_s, spans) and not _is_estimated(container, stated_s)
    if found.shifts_s or not is_early:
        return length_s, False
    others = [stream for stream in container.streams if stream.index not in spans]
    if others:
        found.is_scanned = True
        spans = spans | scan(container, others, rewind=True).by_stream
    return length_s, _ends_early(stated_s, spans)


def _ends_early(stated_s: float, spans: dict[int, Span]) -> bool:
    # What is stated is a length in some formats, and the time of the end in others.
    end_s = max(span.end_s for span in spans.values())
    return stated_s - end_s > CUT_S and not is_placeholder(stated_s, end_s)


def _is_estimated(container: Any, stated_s: float) -> bool:
    """Whether a length is the file's size by its bit rate, as FFmpeg guesses if none is stated."""
    streams = (*container.streams.video, *container.streams.audio)
    rate = sum(stream.codec_context.bit_rate or 0 for stream in streams if stream.codec_context)
    return rate > 0 and bool(abs(container.size * 8 / rate - stated_s) < 0.01 * stated_s)


def is_placeholder(stated_s: float, real_s: float) -> bool:
    """Whether a length was written before the real one was known."""
    return stated_s > _PLACEHOLDER * max(real_s, 0.0)
