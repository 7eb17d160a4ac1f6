"""What is drawn of a window, as plain arrays: nothing here knows how it is drawn.

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

# A class after the first is drawn if it is at least this probable in some reading.
LEAST_PROBABILITY = 0.05
MOST_MAPS = 3
NUM_MELS = 96
NUM_MOMENTS = 400


@dataclass(frozen=True, kw_only=True)
class ClassMap:
    """Where and when one class was found.

    Attributes:
        label: Its name.
        probability: Of the audio-visual reading.
        told: The number to tell beside the name: that probability, or a higher one of another
            reading where it is small.
        frame: The frame that holds its strongest patch.
        all_patches: Values of the patches, largest 1, [K, rows, columns]; None without a map.
        moments: Values at `NUM_MOMENTS` moments of the window, largest 1; None without a map.
    """

    label: str
    probability: float
    told: str
    frame: int
    all_patches: Floats | None
    moments: Floats | None

    @property
    def patches(self) -> Floats | None:
        """Those of the frame with the strongest one."""
        return None if self.all_patches is None else self.all_patches[self.frame]

    def patches_of(self, frame: int) -> Floats:
        """Those of a frame, [rows, columns]."""
        assert self.all_patches is not None
        return self.all_patches[frame]

    @property
    def box(self) -> tuple[float, float, float, float] | None:
        """x, y, width and height of the strongest patch, in shares of the frame."""
        patches = self.patches
        if patches is None:
            return None
        rows, columns = patches.shape
        row, column = divmod(int(patches.argmax()), columns)
        return column / columns, row / rows, 1 / columns, 1 / rows


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A window and what is said of it.

    Attributes:
        prediction: What is said.
        frames: uint8 [K, S, S, 3]; None without a picture track.
        spectrogram: Log power on the mel scale, [filters, spectrogram frames]; None without sound.
        top_hz: Its highest frequency.
        start_s: Where the window begins in the file.
        end_s: Where it ends.
        classes: The most probable ones, with their maps.
        maps_of: Name of the method where it has no maps; None where it has.
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
        """The colour of a class: those with maps come first, then the audio-visual reading's."""
        told = [entry["label"] for entry in self.prediction.modalities["audio_visual"]]
        order = list(dict.fromkeys([*(one.label for one in self.classes), *told]))
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
    """Put together what is drawn of a window.

    Args:
        prediction: Of the window.
        clip: The window.
        maps: Of it, without a batch dimension; None where the method has none.
        class_names: In the order of the maps' last dimension.
        rate_hz: Of the clip's sound.
        method: Name of the method.
    """
    # A clip shorter than the window was repeated to fill it; what is drawn is its first passage.
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
    """Log mel spectrogram of sound, [filters, spectrogram frames]."""
    length = 1 << max(9, round(np.log2(rate_hz * 0.064)))
    with torch.inference_mode():
        waveform = torch.from_numpy(audio.astype(np.float32) / 32768.0)[None]
        values = LogMel(rate_hz, length, max(1, len(audio) // 480), NUM_MELS)(waveform)[0]
    array: Floats = values.numpy()
    return array


def _shown(prediction: Prediction) -> list[dict[str, Any]]:
    """Classes of the audio-visual reading that are worth a map: the first, and likely others."""
    told = prediction.modalities["audio_visual"]
    best: dict[str, float] = {}
    for modality in prediction.modalities.values():
        for entry in modality:
            best[entry["label"]] = max(best.get(entry["label"], 0.0), entry["probability"])
    likely = [e for e in told[1:] if best[e["label"]] >= LEAST_PROBABILITY]
    return [told[0], *likely][:MOST_MAPS]


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
        told=_told(entry, prediction),
        frame=frame,
        all_patches=patches,
        moments=moments,
    )


def _told(entry: dict[str, Any], prediction: Prediction) -> str:
    told = f"{entry['probability']:.2f}"
    if entry["probability"] >= LEAST_PROBABILITY:
        return told
    others = [
        (one["probability"], name)
        for name, entries in prediction.modalities.items()
        for one in entries
        if one["label"] == entry["label"]
    ]
    highest, name = max(others)
    return told if name == "audio_visual" else f"{name} {highest:.2f}"


def between_tokens(values: Floats, share: float) -> Floats:
    """Values of tokens along time at `NUM_MOMENTS` moments of the first ``share`` of them."""
    num = len(values)
    at = (np.arange(NUM_MOMENTS) + 0.5) / NUM_MOMENTS * share * num
    fine: Floats = np.interp(at, np.arange(num) + 0.5, values).astype(np.float32)
    return fine


def _to_one(values: Floats) -> Floats:
    """Values whose largest is 1; all 1 where there is nothing."""
    largest = values.max()
    return values / largest if largest > 0 else np.ones_like(values)
