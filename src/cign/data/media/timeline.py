"""Determine a clip's duration and origin, from the streams in use and their timestamps.

The duration that a container states is the end of its longest stream, including subtitles and all
other streams; in Matroska and Ogg it is counted from time 0, not from the first timestamp. It is
used only as the more exact value, if it agrees with the end of the streams in use.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cign.data.media.spans import Span, Spans, claimed_s, find_spans, is_guessed, scan

# The end of the last packet is uncertain by its duration, or by the samples trimmed from it.
_AGREE_S = 0.1
# A file is truncated if its packets end this much before the end stated in the header.
CUT_S = 0.25
_COVER_S = 0.5
# Marks the video track of an image muxed with audio from separate files: it is not cover art.
IMAGE_TAG = "IMAGE_OF_A_CLIP"
# A stated duration of more than this many times the real one is a placeholder, written before the
# duration was known.
_PLACEHOLDER = 20


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """Start and end of the streams of a clip.

    Attributes:
        origins_s: By stream index, the time in the file that is time 0 of the clip.
        duration_s: Seconds from the start of the earlier stream to the end of the later one.
        is_stated: Whether the values are those of the header, not verified by reading packets.
        is_scanned: Whether all packets were read.
        is_cut: Whether the file ends before the end stated in its header.
        absent: Indices of streams without packets, or whose only frame is cover art.
        shifts_s: For files whose timestamps restart, see `cign.data.media.joins.shifts_s`.
        keys_s: For such files, the times of the key frames.
        notes: Name and detail of each condition.
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
    """Find start and end of a clip.

    Args:
        container: The newly opened container of PyAV.
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
        # The tracks do not overlap: their timestamps come from different clocks.
        for index, span in ordered:
            origins_s[index] = round(span.start_s, 6)
        length_s = max(span.end_s - span.start_s for span in spans.values())
        late = tracks[ordered[1][0]].type
        notes.append(
            (
                "tracks apart",
                f"its {late} track begins {apart_s:.1f} s after the other track ends: each track "
                "was read from its own start",
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
    """Return whether a video stream is a single frame, with audio that continues after it."""
    if {video.index, audio.index} - set(spans) or spans[video.index].num_packets != 1:
        return False
    rest_s = spans[audio.index].end_s - spans[video.index].end_s
    return rest_s >= _COVER_S and IMAGE_TAG not in video.metadata


def _compare(
    container: Any, length_s: float, spans: dict[int, Span], found: Spans
) -> tuple[float, bool]:
    """Compare with the duration that the container states.

    Returns:
        The duration in seconds, and whether the file ends before its stated end.
    """
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
    # The stated value is a duration in some formats, and the time of the end in others.
    end_s = max(span.end_s for span in spans.values())
    return stated_s - end_s > CUT_S and not is_placeholder(stated_s, end_s)


def _is_estimated(container: Any, stated_s: float) -> bool:
    """Return whether a duration is FFmpeg's estimate from size and bit rate, as none is stated."""
    streams = (*container.streams.video, *container.streams.audio)
    rate = sum(stream.codec_context.bit_rate or 0 for stream in streams if stream.codec_context)
    return rate > 0 and bool(abs(container.size * 8 / rate - stated_s) < 0.01 * stated_s)


def is_placeholder(stated_s: float, real_s: float) -> bool:
    """Return whether a stated duration was written before the real one was known."""
    return stated_s > _PLACEHOLDER * max(real_s, 0.0)
