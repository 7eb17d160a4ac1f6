"""Decode consecutive windows of a long file, in memory that does not grow with the file."""

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
    """Decode windows that start every ``every_s`` seconds.

    A last window of less than half a second is left out, unless it is the only one; a shorter last
    window is filled like a short clip. Windows that are too damaged are left out; an error names
    them after the last window.

    Args:
        path: The file.
        spec: Frames and audio to take from each window.
        every_s: Seconds between the starts of the windows.

    Raises:
        MediaError: As `cign.data.media.decode.decode`, before the first window; and after the last
            one if some windows were left out.
    """
    assert every_s > 0
    path = Path(path)
    # Open the file twice for video and audio, so that each is read at its own pace.
    with as_media_error(), Media.open(path) as video, Media.open(path) as audio:
        duration_s = video.duration_s()
        # Only the last window reports that the file is truncated.
        video.num_bad = audio.num_bad = 0
        if duration_s < SHORT_S:
            raise MediaError("short", f"it is {duration_s:.2f} s long, less than {SHORT_S} s")
        frames = frame_reader(video)
        sound = SoundReader(audio, spec.rate_hz) if audio.audio is not None else None
        number, is_searched, broken_s = 0, False, None
        failures: list[tuple[float, float, MediaError]] = []
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
                # The file is truncated: no windows are returned for the missing part.
                duration_s = min(duration_s, broken_s)
                if number and duration_s - start_s < SHORT_S:
                    break
                end_s = max(duration_s, start_s + SHORT_S)
                raw = replace(raw, end_s=end_s)
                video.num_bad += 1
            elif video.timeline.is_cut and duration_s - (number + 1) * every_s < SHORT_S:
                video.num_bad += 1
            video.num_bad += audio.num_bad
            video.num_not_finite += audio.num_not_finite
            audio.num_bad = audio.num_not_finite = 0
            try:
                window = finish(video, spec, raw, end_s - start_s)
            except MediaError as error:
                failures.append((start_s, end_s, error))
            else:
                yield window
            video.num_bad = video.num_not_finite = 0
            number += 1
        if failures:
            raise _left_out(failures, number)


def _left_out(failures: list[tuple[float, float, MediaError]], number: int) -> MediaError:
    """The error that names windows without content; that of the first if there are no others."""
    if len(failures) == number:
        return failures[0][2]
    between = f"between {failures[0][0]:.2f} and {max(end_s for _, end_s, _ in failures):.2f} s"
    return MediaError(
        "damaged", f"{len(failures)} of {number} windows do not decode, {between}, and are missing"
    )


def _breaks_off_s(path: Path) -> float | None:
    """Return the time at which a file is truncated, using a separate handle: others are in use."""
    with Media.open(path) as media:
        return media.breaks_off_s()
