"""Data to draw for a window, as plain arrays, independent of the drawing code.

Legend: K frames, S pixels, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cign.backbones.preprocessing.mel import LogMel
from cign.data.media.decode import Decoded
from cign.explain.look import colour_of
from cign.inference.localization import Maps
from cign.inference.prediction import Prediction

Floats = NDArray[np.float32]

# A class after the first is drawn if its probability is at least this in some modality.
LEAST_PROBABILITY = 0.05
MOST_MAPS = 3
NUM_MELS = 96
NUM_MOMENTS = 400


@dataclass(frozen=True, kw_only=True)
class ClassMap:
    """Localization maps of one class.

    Attributes:
        label: Name of the class.
        probability: Audio-visual probability.
        told: Text beside the name: that probability or, if it is small, the highest probability in
            another modality.
        frame: Index of the frame with the strongest patch.
        all_patches: Spatial map, largest value 1, [K, rows, columns]; None without a map.
        moments: Temporal map at `NUM_MOMENTS` times, largest value 1; None without a map.
    """

    label: str
    probability: float
    told: str
    frame: int
    all_patches: Floats | None
    moments: Floats | None

    @property
    def patches(self) -> Floats | None:
        """Spatial map of the frame with the strongest patch, [rows, columns]."""
        return None if self.all_patches is None else self.all_patches[self.frame]

    def patches_of(self, frame: int) -> Floats:
        """Spatial map of a frame, [rows, columns]."""
        assert self.all_patches is not None
        return self.all_patches[frame]

    @property
    def box(self) -> tuple[float, float, float, float] | None:
        """x, y, width and height of the strongest patch, as fractions of the frame."""
        patches = self.patches
        if patches is None:
            return None
        rows, columns = patches.shape
        row, column = divmod(int(patches.argmax()), columns)
        return column / columns, row / rows, 1 / columns, 1 / rows


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A window with its prediction and maps.

    Attributes:
        prediction: Prediction of the window.
        frames: uint8 [K, S, S, 3]; None without a video track.
        spectrogram: Log mel power, [filters, spectrogram frames]; None without audio.
        top_hz: Highest frequency of the spectrogram in Hz.
        start_s: Start of the window in the file, in seconds.
        end_s: End of the window, in seconds.
        classes: The most probable classes, with their maps.
        maps_of: Name of the method if it does not support maps; None if it does.
    """

    prediction: Prediction
    frames: NDArray[np.uint8] | None
    spectrogram: Floats | None
    top_hz: float
    start_s: float
    end_s: float
    classes: tuple[ClassMap, ...]
    maps_of: str | None

    def colour(self, label: str) -> str:
        """The colour of a class: first the classes with maps, then by audio-visual probability."""
        ranked = [entry["label"] for entry in self.prediction.modalities["audio_visual"]]
        order = list(dict.fromkeys([*(one.label for one in self.classes), *ranked]))
        return colour_of(order.index(label) if label in order else len(order) + 99)


def make_scene(
    prediction: Prediction,
    clip: Decoded,
    maps: Maps | None,
    class_names: tuple[str, ...],
    *,
    rate_hz: int,
    method: str,
) -> Scene:
    """Collect the data to draw for a window.

    Args:
        prediction: Prediction of the window.
        clip: The decoded window.
        maps: Its maps, without a batch dimension; None if the method does not support them.
        class_names: In the order of the maps' last dimension.
        rate_hz: Sample rate of the audio in Hz.
        method: Name of the method.
    """
    # A clip shorter than the window is repeated to fill it; only the first repetition is drawn.
    share = min(1.0, (clip.end_s - clip.start_s) * rate_hz / len(clip.audio))
    spectrogram = None
    if clip.has_audio:
        spectrogram = log_mel(clip.audio[: max(1, round(share * len(clip.audio)))], rate_hz)
    chosen = _shown(prediction)
    classes = tuple(
        _class_map(entry, prediction, clip, maps, class_names.index(entry["label"]), share)
        for entry in chosen
    )
    return Scene(
        prediction=prediction,
        frames=clip.frames if clip.has_visual else None,
        spectrogram=spectrogram,
        top_hz=rate_hz / 2,
        start_s=clip.start_s,
        end_s=clip.end_s,
        classes=classes,
        maps_of=method if maps is None else None,
    )


def log_mel(audio: NDArray[np.int16], rate_hz: int) -> Floats:
    """Log mel spectrogram of audio, [filters, spectrogram frames]."""
    length = 1 << max(9, round(np.log2(rate_hz * 0.064)))
    with torch.inference_mode():
        waveform = torch.from_numpy(audio.astype(np.float32) / 32768.0)[None]
        values = LogMel(rate_hz, length, max(1, len(audio) // 480), NUM_MELS)(waveform)[0]
    array: Floats = values.numpy()
    return array


def _shown(prediction: Prediction) -> list[dict[str, Any]]:
    """Classes to draw maps for: the audio-visual prediction, and other likely classes."""
    ranked = prediction.modalities["audio_visual"]
    best: dict[str, float] = {}
    for modality in prediction.modalities.values():
        for entry in modality:
            best[entry["label"]] = max(best.get(entry["label"], 0.0), entry["probability"])
    likely = [e for e in ranked[1:] if best[e["label"]] >= LEAST_PROBABILITY]
    return [ranked[0], *likely][:MOST_MAPS]


def _class_map(
    entry: dict[str, Any],
    prediction: Prediction,
    clip: Decoded,
    maps: Maps | None,
    number: int,
    share: float,
) -> ClassMap:
    frame, patches, moments = len(clip.frames) // 2, None, None
    if maps is not None and maps.visual is not None and clip.has_visual:
        values = maps.visual[..., number]  # [K, rows, columns]
        frame = int(values.max(axis=(1, 2)).argmax())
        patches = _to_one(values)
    if maps is not None and maps.audio is not None and clip.has_audio:
        moments = _to_one(between_tokens(maps.audio[:, number], share))
    return ClassMap(
        label=entry["label"],
        probability=entry["probability"],
        told=_number(entry, prediction),
        frame=frame,
        all_patches=patches,
        moments=moments,
    )


def _number(entry: dict[str, Any], prediction: Prediction) -> str:
    number = f"{entry['probability']:.2f}"
    if entry["probability"] >= LEAST_PROBABILITY:
        return number
    others = [
        (one["probability"], name)
        for name, entries in prediction.modalities.items()
        for one in entries
        if one["label"] == entry["label"]
    ]
    highest, name = max(others)
    return number if name == "audio_visual" else f"{name} {highest:.2f}"


def between_tokens(values: Floats, share: float) -> Floats:
    """Interpolate token values at `NUM_MOMENTS` times within the first ``share`` of the window."""
    num = len(values)
    at = (np.arange(NUM_MOMENTS) + 0.5) / NUM_MOMENTS * share * num
    fine: Floats = np.interp(at, np.arange(num) + 0.5, values).astype(np.float32)
    return fine


def _to_one(values: Floats) -> Floats:
    """Scale values so that the largest is 1; all ones if no value is positive."""
    largest = values.max()
    return values / largest if largest > 0 else np.ones_like(values)
