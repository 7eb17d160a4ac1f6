"""Decode clips: selected frames and the audio of a window, and their conditions.

This module does not import torch, so that decoding processes start in a fraction of a second.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cign.data.media.audio import Sound, SoundReader
from cign.data.media.container import Media, MediaError, as_media_error
from cign.data.media.image_files import frame_reader
from cign.data.media.video import Chosen, describe_frame, is_still, to_square

__all__ = ["PRESETS", "THRESHOLDS", "Decoded", "MediaError", "MediaSpec", "decode"]

SHORT_S = 0.5
SILENT_DBFS = -60.0
THRESHOLDS = {"short_s": SHORT_S, "silent_dbfs": SILENT_DBFS, "still_block_levels": 1.0}


@dataclass(frozen=True, kw_only=True)
class MediaSpec:
    """Specification of the frames and audio to take from a clip.

    Attributes:
        num_frames: Number of frames, evenly spaced over the window; a single frame is its middle.
        frame_px: Side of the square that frames are resized to, in pixels.
        rate_hz: Audio sample rate in hertz.
        window_s: Length of the window in seconds.
    """

    num_frames: int = 1
    frame_px: int = 246
    rate_hz: int = 22050
    window_s: float = 3.0

    def __post_init__(self) -> None:
        if self.num_frames < 1 or self.frame_px < 16 or self.num_samples < 1:
            raise ValueError(
                f"{self} is invalid: it needs at least one frame, 16 pixels and one audio sample"
            )

    @property
    def num_samples(self) -> int:
        """Number of audio samples in a window."""
        return round(self.rate_hz * self.window_s)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, for JSON."""
        return asdict(self)


# The released code of CIGN uses a short side of 246 pixels and 3 s of audio; 22.05 kHz gives the
# 257x276 spectrogram that its network expects.
PRESETS = {"release": MediaSpec(), "small": MediaSpec(frame_px=96, rate_hz=16000)}


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """A window of a clip.

    Attributes:
        frames: uint8 RGB [num_frames, frame_px, frame_px, 3]; zeros without a video track.
        audio: int16 [num_samples]; zeros without an audio track.
        has_audio: Whether there is an audio track.
        has_visual: Whether there is a video track.
        silent: Whether the audio's peak is below -60 dBFS.
        still: Whether the video does not move; None if only one frame was available for the test.
        start_s: Start of the window in the file, in seconds.
        end_s: End of the window in the file, in seconds; less than a window after ``start_s`` for
            clips that were repeated to fill the window.
        duration_s: Length of the clip, not of the window, in seconds.
        conditions: Name and detail of each condition, see ``docs/media.md``.
    """

    frames: NDArray[np.uint8]
    audio: NDArray[np.int16]
    has_audio: bool
    has_visual: bool
    silent: bool
    still: bool | None
    start_s: float
    end_s: float
    duration_s: float
    conditions: tuple[tuple[str, str], ...] = field(default=())

    @property
    def content_hash(self) -> str:
        """SHA-256 of the decoded frames and audio; files with equal hashes are duplicates."""
        return content_hash(self.frames, self.audio, self.has_audio, self.has_visual)


def content_hash(
    frames: NDArray[np.uint8], audio: NDArray[np.int16], has_audio: bool, has_visual: bool
) -> str:
    """Hash decoded content, and which modalities are present."""
    digest = hashlib.sha256(bytes([has_audio, has_visual]))
    digest.update(np.ascontiguousarray(frames).data)
    digest.update(np.ascontiguousarray(audio).data)
    return digest.hexdigest()


def decode(
    path: Path, spec: MediaSpec, *, start_s: float | None = None, end_s: float | None = None
) -> Decoded:
    """Decode the centre window of a clip.

    Args:
        path: The file.
        spec: Frames and audio to take.
        start_s: Start of the clip in the file, in seconds; the file's start if absent.
        end_s: End of the clip in seconds; the file's end if absent or later than the file's end.

    Raises:
        MediaError: If the file is missing, unreadable or too damaged, or the clip is too short.
    """
    with as_media_error(), Media.open(Path(path)) as media:
        first_s, last_s = _extent(media, start_s, end_s)
        raw = _read(media, spec, *_centre(first_s, last_s, spec.window_s))
        broken_s = media.breaks_off_s() if raw.lacks(spec) else None
        if broken_s is not None:
            # The file is truncated: use the centre of the available part.
            media.num_bad += 1
            if first_s + SHORT_S <= broken_s < last_s:
                last_s = broken_s
                raw = _read(media, spec, *_centre(first_s, last_s, spec.window_s))
        return finish(media, spec, raw, last_s - first_s)


def _extent(media: Media, start_s: float | None, end_s: float | None) -> tuple[float, float]:
    duration_s = media.duration_s()
    first_s = start_s or 0.0
    last_s = duration_s if end_s is None else min(end_s, duration_s)
    if first_s >= duration_s > 0:
        raise MediaError(
            "short", f"start_s {first_s:g} is past the end of the {duration_s:.2f} s file"
        )
    if last_s - first_s < SHORT_S:
        length_s = max(last_s - first_s, 0.0)
        raise MediaError("short", f"the clip is {length_s:.2f} s long, less than {SHORT_S} s")
    return first_s, last_s


def _centre(first_s: float, last_s: float, window_s: float) -> tuple[float, float]:
    spare_s = max(last_s - first_s - window_s, 0.0)
    return first_s + spare_s / 2, last_s - spare_s / 2


@dataclass(frozen=True)
class Raw:
    """Content of a window as read, before it is checked and brought to its final shape."""

    start_s: float
    end_s: float
    chosen: Chosen | None
    sound: Sound | None

    def lacks(self, spec: MediaSpec) -> bool:
        """Return whether video or audio ends before the window."""
        middle_s = self.end_s - (self.end_s - self.start_s) / (2 * spec.num_frames)
        lacks_video = self.chosen is None or middle_s - self.chosen.times_s[-1] > SHORT_S
        return lacks_video or (
            self.sound is not None
            and len(self.sound.samples) - self.sound.last > spec.rate_hz * SHORT_S / 2
        )


def frame_times_s(spec: MediaSpec, start_s: float, end_s: float) -> list[float]:
    """Return the times of a window's frames: the middles of equal parts, in seconds."""
    step_s = (end_s - start_s) / spec.num_frames
    return [start_s + (i + 0.5) * step_s for i in range(spec.num_frames)]


def _read(media: Media, spec: MediaSpec, start_s: float, end_s: float) -> Raw:
    chosen, sound = None, None
    reader = frame_reader(media)
    if reader is not None:
        chosen = reader.at(frame_times_s(spec, start_s, end_s))
    if media.audio is not None:
        sound = SoundReader(media, spec.rate_hz, start_s).between(start_s, end_s)
    return Raw(start_s, end_s, chosen, sound)


def finish(media: Media, spec: MediaSpec, raw: Raw, duration_s: float) -> Decoded:
    """Check the content of a window and bring it to the shapes of the specification.

    Raises:
        MediaError: If too little of it was decoded.
    """
    chosen, sound = raw.chosen, raw.sound
    num_decoded = 0 if sound is None else sound.last - sound.first
    if chosen is None and num_decoded == 0:
        raise MediaError("unreadable", "nothing in it decodes")
    if media.video is not None and chosen is None:
        raise MediaError("damaged", "no frame of its video track decodes")
    min_samples = SHORT_S * spec.rate_hz * (1 - 1e-3)
    if sound is not None and media.num_bad and num_decoded < min_samples:
        raise MediaError("damaged", f"less than {SHORT_S} s of its audio track decodes")
    audio = np.zeros(spec.num_samples, np.int16)
    if sound is not None:
        audio = _fill(sound, spec.num_samples)
    frames = np.zeros((spec.num_frames, spec.frame_px, spec.frame_px, 3), np.uint8)
    still = None
    if chosen is not None:
        for number, frame in enumerate(chosen.frames):
            frames[number] = to_square(frame, spec.frame_px)
        if chosen.frames[-1] is not chosen.first:
            still = is_still(chosen.first, chosen.frames[-1])
    peak = int(np.abs(audio.astype(np.int32)).max())
    silent = sound is not None and peak < 32768 * 10 ** (SILENT_DBFS / 20)
    return Decoded(
        frames=frames,
        audio=audio,
        has_audio=sound is not None,
        has_visual=chosen is not None,
        silent=silent,
        still=still,
        start_s=raw.start_s,
        end_s=raw.end_s,
        duration_s=duration_s,
        conditions=tuple(_conditions(media, spec, raw, silent, still, duration_s)),
    )


def _fill(sound: Sound, num_samples: int) -> NDArray[np.int16]:
    """Repeat the audio of a clip that is shorter than the window; otherwise do not change it."""
    length = len(sound.samples)
    if length < num_samples:
        samples = sound.samples[sound.first : sound.last] if sound.last else sound.samples
        return np.resize(samples, num_samples)
    return sound.samples[:num_samples]


def _conditions(
    media: Media, spec: MediaSpec, raw: Raw, silent: bool, still: bool | None, duration_s: float
) -> Iterator[tuple[str, str]]:
    damage = []
    if media.num_bad:
        damage.append(f"{media.num_bad} packets or frames failed")
    if media.num_not_finite:
        damage.append(f"{media.num_not_finite} audio samples are not finite and were set to 0")
    if damage:
        yield "damaged", "; ".join(damage)
    yield from media.timeline.notes
    if raw.sound is None:
        yield "one modality", "no audio track"
    if raw.chosen is None:
        yield "one modality", "no video track"
    if silent and raw.sound is not None and raw.sound.last:
        yield "silent", f"the peak of its audio is below {SILENT_DBFS:.0f} dBFS"
    elif silent:
        yield "silent", "its audio track has no samples in the window"
    if still:
        yield "still", "its video does not move"
    if raw.chosen is not None and still is None:
        yield "still not tested", "the selected frame is the first that decodes"
    if duration_s < spec.window_s - 1e-3:
        yield "short", f"{duration_s:.2f} s were repeated to fill {spec.window_s:g} s"
    if duration_s > spec.window_s + 1e-3:
        yield "long", f"the centre {spec.window_s:g} s of {duration_s:.2f} s were taken"
    if raw.chosen is not None:
        # Elementary streams state their frame rate in several ways; one of them is used.
        track = None if media.is_unstamped else media.video
        yield from describe_frame(track, raw.chosen.frames[0])
    if media.audio is not None and media.audio.codec_context.channels > 2:
        yield "surround", f"{media.audio.codec_context.channels} channels were mixed to one"
