"""Clips as arrays in memory: waveform and frames are used for predictions like a decoded file.

Legend: L samples, K frames, H and W pixels, B clips.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import av
import numpy as np
from numpy.typing import ArrayLike, NDArray

from cign.data.media.container import EPSILON_S
from cign.data.media.decode import (
    SHORT_S,
    SILENT_DBFS,
    Decoded,
    MediaError,
    MediaSpec,
    frame_times_s,
)
from cign.data.media.limits import beyond_limits
from cign.data.media.video import to_square
from cign.errors import InputError

_PIECE = 1 << 16  # samples per resampling step
_LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}
_MOST_CHANNELS = 64


@dataclass(frozen=True, kw_only=True, eq=False)
class ArrayClip:
    """A clip whose audio and frames are arrays; one of them may be missing.

    The functions that decode files mix the waveform to one channel, resample it and resize the
    frames. Arrays at the model's rate and frame size (``learner.model.spec``) give exactly the
    prediction of their file. For other arrays, small differences remain: full-size RGB frames
    differ from those of the file by 1 to 3 of 255 levels on average. CPU tensors are accepted as
    arrays.

    Args:
        audio: Waveform, shape [L] or [channels, L]: floating point in [-1, 1], or int16. Six
            channels are mixed as 5.1, eight as 7.1; other numbers above two are averaged.
        rate_hz: Samples per second; required with ``audio``.
        frames: RGB images, shape [K, H, W, 3] or, for a single image, [H, W, 3]: uint8, or
            floating point in [0, 1].
        frame_rate_hz: Frames per second. If absent, the frames are spread evenly over the
            duration of the audio or, without audio, over the window of the model.
        name: Value of `Prediction.file`.

    Raises:
        InputError: If both are missing, or a shape or a value is not as described.
    """

    audio: ArrayLike | None = None
    rate_hz: float | None = None
    frames: ArrayLike | None = None
    frame_rate_hz: float | None = None
    name: str = "array"
    _audio: NDArray[Any] | None = field(init=False, repr=False)
    _frames: NDArray[np.uint8] | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.audio is None and self.frames is None:
            raise InputError(
                "missing-option",
                f"clip {self.name!r} has neither audio nor frames: give one of them",
            )
        if (self.audio is None) != (self.rate_hz is None):
            raise InputError(
                "missing-option", f"clip {self.name!r}: audio and rate_hz go together: give both"
            )
        for name in ("rate_hz", "frame_rate_hz"):
            value = getattr(self, name)
            if value is not None and not (0 < float(value) < math.inf):
                raise InputError(
                    "bad-clip",
                    f"clip {self.name!r}: {name} is {value!r}, not a positive number of hertz",
                )
        if self.rate_hz is not None and float(self.rate_hz) <= 0.5:  # rounded to resample
            raise InputError(
                "bad-clip",
                f"clip {self.name!r}: rate_hz is {self.rate_hz!r}, which rounds to 0 Hz: give the "
                "number of samples per second",
            )
        audio = None if self.audio is None else _waveform(np.asarray(self.audio), self.name)
        frames = None if self.frames is None else _images(np.asarray(self.frames), self.name)
        object.__setattr__(self, "_audio", audio)
        object.__setattr__(self, "_frames", frames)

    def __repr__(self) -> str:
        parts = [repr(self.name)]
        if self._audio is not None:
            parts.append(f"audio {list(self._audio.shape)} at {self.rate_hz:g} Hz")
        if self._frames is not None:
            parts.append(f"frames {list(self._frames.shape)}")
        return f"ArrayClip({', '.join(parts)})"

    @staticmethod
    def batch(
        *,
        audio: ArrayLike | None = None,
        rate_hz: float | None = None,
        frames: ArrayLike | None = None,
        frame_rate_hz: float | None = None,
        names: Sequence[str] | None = None,
    ) -> list[ArrayClip]:
        """Create the clips of a batch of arrays.

        Args:
            audio: Shape [B, L] or [B, channels, L].
            rate_hz: As in `ArrayClip`.
            frames: Shape [B, K, H, W, 3].
            frame_rate_hz: As in `ArrayClip`.
            names: Names of the clips; ``array 0``, ``array 1`` and so on if absent.

        Raises:
            InputError: If the batches differ in length, or for the reasons of `ArrayClip`.
        """
        parts = {"audio": audio, "frames": frames, "names": names}
        lengths = {name: len(part) for name, part in parts.items() if part is not None}  # type: ignore[arg-type]
        if len(set(lengths.values())) > 1:
            numbers = ", ".join(f"{length} {name}" for name, length in lengths.items())
            raise InputError(
                "bad-value", f"a batch of arrays has {numbers}: give the same number of each"
            )
        waves, images = (None if x is None else np.asarray(x) for x in (audio, frames))
        return [
            ArrayClip(
                audio=None if waves is None else waves[i],
                rate_hz=rate_hz,
                frames=None if images is None else images[i],
                frame_rate_hz=frame_rate_hz,
                name=f"array {i}" if names is None else names[i],
            )
            for i in range(next(iter(lengths.values()), 0))
        ]

    @property
    def duration_s(self) -> float | None:
        """Length of the longer modality in seconds; None for frames only, without a rate."""
        lengths_s = []
        if self._audio is not None and self.rate_hz is not None:
            lengths_s.append(self._audio.shape[1] / self.rate_hz)
        if self._frames is not None and self.frame_rate_hz is not None:
            lengths_s.append(len(self._frames) / self.frame_rate_hz)
        return max(lengths_s, default=None)

    def windows(self, spec: MediaSpec, every_s: float | None = None) -> Iterator[Decoded]:
        """Yield the centre window, or windows that start every ``every_s`` seconds.

        Raises:
            MediaError: If the clip is shorter than half a second, or exceeds the limits of
                `cign.data.media.limits`.
        """
        duration_s = spec.window_s if self.duration_s is None else self.duration_s
        if duration_s < SHORT_S:
            raise MediaError("short", f"it is {duration_s:.2f} s long, less than {SHORT_S} s")
        if beyond := beyond_limits(None, duration_s):
            raise MediaError("unreadable", beyond)
        samples = None
        if self._audio is not None and self.rate_hz is not None:
            samples = _resampled(self._audio, self.rate_hz, spec.rate_hz)
        if every_s is None:
            start_s = max(duration_s - spec.window_s, 0.0) / 2
            yield self._window(spec, samples, duration_s, start_s)
            return
        number = 0
        while number == 0 or duration_s - number * every_s >= SHORT_S:
            yield self._window(spec, samples, duration_s, number * every_s)
            number += 1

    def _window(
        self, spec: MediaSpec, samples: NDArray[np.int16] | None, duration_s: float, start_s: float
    ) -> Decoded:
        end_s = min(start_s + spec.window_s, duration_s)
        audio = np.zeros(spec.num_samples, np.int16)
        if samples is not None:
            audio = _filled(samples, round(start_s * spec.rate_hz), end_s - start_s, spec)
        frames = np.zeros((spec.num_frames, spec.frame_px, spec.frame_px, 3), np.uint8)
        if self._frames is not None:
            num = len(self._frames)
            rate_hz = self.frame_rate_hz or num / duration_s
            for k, time_s in enumerate(frame_times_s(spec, start_s, end_s)):
                image = self._frames[min(int((time_s + EPSILON_S) * rate_hz), num - 1)]
                frames[k] = _square(image, spec.frame_px)
        peak = int(np.abs(audio.astype(np.int32)).max())
        return Decoded(
            frames=frames,
            audio=audio,
            has_audio=samples is not None,
            has_visual=self._frames is not None,
            silent=samples is not None and peak < 32768 * 10 ** (SILENT_DBFS / 20),
            still=None,
            start_s=start_s,
            end_s=end_s,
            duration_s=duration_s,
        )


def _square(image: NDArray[np.uint8], size_px: int) -> NDArray[np.uint8]:
    """Resize an image [H, W, 3] to a square; an image of that size is not changed."""
    if image.shape[:2] == (size_px, size_px):
        return image
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
    # Files store colour at half the resolution, and are resized from that. Resizing RGB instead
    # would increase the difference from a file's frames by a factor of two to three.
    return to_square(frame.reformat(format="yuv420p"), size_px)


def _waveform(audio: NDArray[Any], name: str) -> NDArray[Any]:
    """Check a waveform; return int16 or float32, shape [channels, L]."""
    wave = audio[None] if audio.ndim == 1 else audio
    if wave.ndim != 2 or not 1 <= wave.shape[0] <= _MOST_CHANNELS or wave.shape[1] == 0:
        raise InputError(
            "bad-clip",
            f"clip {name!r}: audio has shape {list(audio.shape)}; give [samples] or "
            f"[channels, samples] with at most {_MOST_CHANNELS} channels",
        )
    if wave.dtype == np.int16:
        return wave
    if not np.issubdtype(wave.dtype, np.floating):
        raise InputError(
            "bad-clip",
            f"clip {name!r}: audio is {wave.dtype}; give floating point in [-1, 1], or int16",
        )
    wave = wave.astype(np.float32)
    if not np.isfinite(wave).all():
        raise InputError(
            "bad-clip", f"clip {name!r}: audio contains infinity or NaN: replace such samples"
        )
    if np.abs(wave).max() > 2:
        raise InputError(
            "bad-clip",
            f"clip {name!r}: audio reaches {np.abs(wave).max():g}; floating point must be in "
            "[-1, 1]: divide it by its full scale, for example 32768",
        )
    return wave


def _images(frames: NDArray[Any], name: str) -> NDArray[np.uint8]:
    """Check frames; return uint8, shape [K, H, W, 3]."""
    images = frames[None] if frames.ndim == 3 else frames
    if images.ndim != 4 or images.shape[-1] != 3 or 0 in images.shape:
        raise InputError(
            "bad-clip",
            f"clip {name!r}: frames have shape {list(frames.shape)}; give RGB as "
            "[frames, height, width, 3] or [height, width, 3]",
        )
    if images.dtype == np.uint8:
        return images
    if not np.issubdtype(images.dtype, np.floating):
        raise InputError(
            "bad-clip",
            f"clip {name!r}: frames are {images.dtype}; give uint8, or floating point in [0, 1]",
        )
    if not (images.min() >= 0 and images.max() <= 1):  # NaN fails too
        raise InputError(
            "bad-clip",
            f"clip {name!r}: frames range from {images.min():g} to {images.max():g}; floating "
            "point must be in [0, 1]",
        )
    return np.rint(images.astype(np.float32) * 255).astype(np.uint8)


def _resampled(wave: NDArray[Any], from_hz: float, to_hz: int) -> NDArray[np.int16]:
    """Mix to one channel and resample, as for files."""
    if wave.shape[0] not in _LAYOUTS:
        scale = 32768 if wave.dtype == np.int16 else 1
        wave = (wave.astype(np.float32) / scale).mean(axis=0, keepdims=True)
    kind = "s16p" if wave.dtype == np.int16 else "fltp"
    resampler = av.AudioResampler(format="s16", layout="mono", rate=to_hz)
    parts: list[NDArray[Any]] = [np.zeros(0, np.int16)]
    for begin in range(0, wave.shape[1], _PIECE):
        piece = np.ascontiguousarray(wave[:, begin : begin + _PIECE])
        frame = av.AudioFrame.from_ndarray(piece, format=kind, layout=_LAYOUTS[len(wave)])
        frame.rate = round(from_hz)
        parts += [part.to_ndarray().reshape(-1) for part in resampler.resample(frame)]
    parts += [part.to_ndarray().reshape(-1) for part in resampler.resample(None)]
    return np.concatenate(parts)


def _filled(
    samples: NDArray[np.int16], begin: int, length_s: float, spec: MediaSpec
) -> NDArray[np.int16]:
    """Return a window: silence follows the audio; a clip shorter than the window is repeated."""
    length = round(length_s * spec.rate_hz)
    available = samples[begin : begin + length]
    if length < spec.num_samples:
        return np.resize(available, spec.num_samples) if len(available) else _silence(spec)
    window = _silence(spec)
    window[: len(available)] = available[: spec.num_samples]
    return window


def _silence(spec: MediaSpec) -> NDArray[np.int16]:
    return np.zeros(spec.num_samples, np.int16)
