"""Decode from a given time: seek, decode, check the first frame, and seek again if necessary."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from cign.data.media.container import EPSILON_S, Media
from cign.data.media.joins import Joiner

# In formats that are searched by byte position, seeking may miss the key frame, or end in the
# middle of an audio packet, after which the parser fails for some packets. In this case, seeking
# is repeated these many seconds earlier, finally from the start. Failures during _SETTLE_S seconds
# after seeking do not count as damage.
_FURTHER_BACK_S = (1.0, 12.0, 60.0)
_SETTLE_S = 1.0

Before = Callable[[float | None], None]


def decoded_from(
    media: Media, time_s: float, kind: str, *, lead_s: float = 0.0, before: Before | None = None
) -> Iterator[tuple[Any, float]]:
    """Yield decoded frames of a track with their times; the first is at or before a time.

    An index may lead too far, and a decoder gives no frames before the next key frame. Therefore
    the first decoded frame is checked: if it is late, the file is read from an earlier position,
    finally from its start.

    Args:
        media: The file.
        time_s: The time in seconds.
        kind: ``video`` or ``audio``.
        lead_s: Seconds before ``time_s`` that the decoder needs.
        before: Called with the time of each packet before it is decoded.
    """
    begin_s = max(time_s - lead_s, 0.0)
    backs_s = (0.0, *_FURTHER_BACK_S) if media.may_miss else (0.0,)
    starts_s = [] if media.is_guessed else [begin_s - back_s for back_s in backs_s]
    num_bad = media.num_bad
    for start_s in (*(start_s for start_s in starts_s if start_s > 0), 0.0):
        media.num_bad = num_bad
        frames = _decode(media, start_s, kind, before, latest_s=begin_s + EPSILON_S)
        first = next(frames, None)
        is_torn = start_s == begin_s and media.may_miss and media.num_bad > num_bad
        if first is None or (is_torn and start_s > 0):
            continue
        if start_s == 0 or first[1] <= time_s + EPSILON_S:
            yield first
            yield from frames
            return


def _decode(
    media: Media, start_s: float, kind: str, before: Before | None, latest_s: float
) -> Iterator[tuple[Any, float]]:
    """Seek and decode; yield nothing if the first packet is late already."""
    is_from_start = media.is_unstamped or (media.may_miss and start_s == 0)
    if media.timeline.shifts_s or is_from_start:
        media.rewind()
    step_s = 0.0 if kind == "audio" else _frame_length_s(media)
    next_s = 0.0 if start_s == 0 else None
    num_bad, settled_s = media.num_bad, None
    is_settling = True
    if media.timeline.shifts_s:
        packets = _joined_from(media, start_s, kind)
    elif is_from_start:
        packets = media.packets(getattr(media, kind))
    else:
        packets = _seeked_from(media, start_s, kind)
    for packet in packets:
        stamp_s = media.packet_s(packet) if is_settling or before is not None else None
        if is_settling and stamp_s is not None:
            if settled_s is None and start_s > 0 and stamp_s > latest_s:
                return
            if settled_s is None:
                settled_s = min(stamp_s + _SETTLE_S, latest_s) if media.may_miss else stamp_s
            is_settling = start_s > 0 and stamp_s < settled_s
            if is_settling:
                media.num_bad = num_bad
        if before is not None:
            before(stamp_s)
        for frame in media.frames(packet):
            given_s = media.frame_s(frame, kind)
            frame_s = next_s if given_s is None else given_s
            if frame_s is None:
                continue  # the time is unknown directly after seeking
            next_s = frame_s + (step_s or frame.samples / frame.sample_rate)
            yield frame, frame_s


def _frame_length_s(media: Media) -> float:
    """Return the duration of a video frame without timestamp, in seconds."""
    assert media.video is not None
    rate = media.video.guessed_rate if media.is_unstamped else media.video.average_rate
    return 1 / float(rate or 25)


def _seeked_from(media: Media, start_s: float, kind: str) -> Iterator[Any]:
    """Yield packets of a track, starting with a key frame."""
    media.seek(start_s, kind)
    is_waiting = start_s > 0 and kind == "video" and media.may_miss
    for packet in media.packets(getattr(media, kind)):
        # A decoder that starts between key frames may return frames without their reference.
        is_waiting = is_waiting and not packet.is_keyframe
        if not is_waiting:
            yield packet


def _joined_from(media: Media, start_s: float, kind: str) -> Iterator[Any]:
    """Yield packets of a newly opened file whose timestamps restart.

    Packets before the start are skipped, because seeking would be ambiguous.
    """
    tracks = [track for track in (media.video, media.audio) if track is not None]
    track, joiner = getattr(media, kind), Joiner(media.timeline.shifts_s, tracks)
    if kind == "video":
        origin_s = media.timeline.origins_s[track.index]
        keys_s = [key_s - origin_s for key_s in media.timeline.keys_s]
        start_s = max((key_s for key_s in keys_s if key_s <= start_s), default=0.0)
    is_waiting = start_s > 0
    for packet in media.packets(*tracks):
        joiner.join(packet)
        if packet.stream_index != track.index:
            continue
        stamp_s = media.packet_s(packet)
        if is_waiting and stamp_s is not None and (packet.is_keyframe or kind == "audio"):
            is_waiting = stamp_s < start_s - EPSILON_S
        if not is_waiting or not packet.size:
            yield packet
