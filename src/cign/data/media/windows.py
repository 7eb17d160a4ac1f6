"""Windows of a long file one after another, in memory that does not grow with the file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from cign.data.media.audio import SoundReader
from cign.data.media.container import Media, as_media_error
from cign.data.media.decode import (
    SHORT_S,
    Decoded,
    MediaError,
    MediaSpec,
    Raw,
    finish,
    frame_times_s,
)
from cign.data.media.image_files import frame_reader


def decode_windows(path: Path, spec: MediaSpec, every_s: float) -> Iterator[Decoded]:
    """Decode windows that begin every so many seconds.

    A last window that holds less than half a second is left out, unless it is the only one; one
    that is shorter than the others is filled as a short clip is.

    Args:
        path: The file.
        spec: What to take from each window.
        every_s: Seconds between the beginnings.

    Raises:
        MediaError: As `cign.data.media.decode.decode` does, before the first window.
    """
    assert every_s > 0
    path = Path(path)
    # Picture and sound are read from two openings, so that each moves on at its own pace.
    with as_media_error(), Media.open(path) as pictures, Media.open(path) as sounds:
        duration_s = pictures.duration_s()
        # That the file ends early is said of the last window alone.
        pictures.num_bad = sounds.num_bad = 0
        if duration_s < SHORT_S:
            raise MediaError("short", f"it is {duration_s:.2f} s long, less than {SHORT_S} s")
        frames = frame_reader(pictures)
        sound = SoundReader(sounds, spec.rate_hz) if sounds.audio is not None else None
        number, is_searched, broken_s = 0, False, None
        while number == 0 or duration_s - number * every_s >= SHORT_S:
            start_s = number * every_s
            end_s = min(start_s + spec.window_s, duration_s)
            raw = Raw(
                start_s,
                end_s,
                None if frames is None else frames.at(frame_times_s(spec, start_s, end_s)),
                None if sound is None else sound.between(start_s, end_s),
            )
            if not is_searched and raw.lacks(spec):
                is_searched = True
                broken_s = _breaks_off_s(path)
            if broken_s is not None and broken_s < end_s:
                # The file breaks off: what follows is not there, and is not answered for.
                duration_s = min(duration_s, broken_s)
                if number and duration_s - start_s < SHORT_S:
                    return
                end_s = max(duration_s, start_s + SHORT_S)
                raw = replace(raw, end_s=end_s)
                pictures.num_bad += 1
            elif pictures.timeline.is_cut and duration_s - (number + 1) * every_s < SHORT_S:
                pictures.num_bad += 1
            pictures.num_bad += sounds.num_bad
            pictures.num_not_finite += sounds.num_not_finite
            sounds.num_bad = sounds.num_not_finite = 0
            yield finish(pictures, spec, raw, end_s - start_s)
            pictures.num_bad = pictures.num_not_finite = 0
            number += 1


def _breaks_off_s(path: Path) -> float | None:
    """Where a file breaks off, by an opening of its own: the others are in the middle of it."""
    with Media.open(path) as media:
        return media.breaks_off_s()
