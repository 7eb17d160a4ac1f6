"""Predictions on files: decoding in threads, tokens and readings in batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cign.data.batches import read_ahead
from cign.data.media import Decoded, MediaError, decode
from cign.data.windows import decode_windows
from cign.methods.base import READINGS
from cign.model_folder import Model
from cign.models.backbone import Backbone
from cign.progress import Progress, Silent

BATCH = 16


@dataclass(kw_only=True)
class Prediction:
    """What is said about a file, or about a window of it.

    Attributes:
        file: As it was given.
        start_s: Where the window begins.
        end_s: Where it ends.
        label: The most probable class of the audio-visual reading; None if the file failed.
        unknown: 1 minus the highest probability of that reading, 0..1.
        is_unknown: Whether that is above the model's threshold.
        readings: For each reading the most probable classes with their probabilities.
        missing: Modalities the file lacks; the readings then use the other one.
        error: Why the file could not be read; None if it could.
    """

    file: str
    start_s: float | None = None
    end_s: float | None = None
    label: str | None = None
    unknown: float | None = None
    is_unknown: bool | None = None
    readings: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    error: str | None = None


def predict_files(
    model: Model,
    backbone: Backbone | None,
    files: Iterable[str | Path],
    *,
    top: int = 3,
    every_s: float | None = None,
    progress: Progress | None = None,
) -> Iterator[Prediction]:
    """Read files.

    Args:
        model: The model.
        backbone: Its frozen backbone; None where the method holds its encoders.
        files: Paths; a file that cannot be read gives a prediction with its error.
        top: How many classes of each reading are told.
        every_s: Windows that begin every so many seconds instead of the centre window.
        progress: Advanced by each file.

    Yields:
        Predictions in the order of the files and their windows.
    """
    progress = progress or Silent()
    windows = _decoded([str(file) for file in files], model, every_s, progress)
    while batch := list(islice(windows, BATCH)):
        good = [decoded for _, decoded in batch if isinstance(decoded, Decoded)]
        scores = read_batch(model, backbone, good) if good else {}
        row = 0
        for file, decoded in batch:
            if isinstance(decoded, Decoded):
                of_clip = {name: values[row] for name, values in scores.items()}
                yield _prediction(model, file, decoded, of_clip, top)
                row += 1
            else:
                yield Prediction(file=file, error=decoded)


def _decoded(
    files: list[str], model: Model, every_s: float | None, progress: Progress
) -> Iterator[tuple[str, Decoded | str]]:
    """Decode files ahead of the readings; an unreadable one gives its reason."""

    def centre(file: str) -> tuple[str, Decoded | str]:
        try:
            return file, decode(Path(file), model.spec)
        except MediaError as error:
            return file, str(error)

    if every_s is None:
        for item in read_ahead([lambda file=file: centre(file) for file in files], 2 * BATCH):  # type: ignore[misc]
            yield item
            progress.advance()
        return
    for file in files:
        try:
            for window in decode_windows(Path(file), model.spec, every_s):
                yield file, window
        except MediaError as error:
            yield file, str(error)
        progress.advance()


@torch.inference_mode()
def read_batch(
    model: Model, backbone: Backbone | None, clips: list[Decoded]
) -> dict[str, NDArray[np.float32]]:
    """Probabilities of each reading for decoded clips, float32, shape [B, C].

    Where a modality is missing, the audio-visual reading is that of the other one.
    """
    audio = torch.from_numpy(np.stack([clip.audio for clip in clips]))
    frames = torch.from_numpy(np.stack([clip.frames for clip in clips]))
    if backbone is not None:
        # float16, as the cached tokens that the model was trained on.
        audio = backbone.audio_tokens(audio).half()
        frames = backbone.visual_tokens(frames).half()
    scores = model.method.predict(audio, frames)
    out = {name: scores[name].float().numpy().copy() for name in READINGS}
    for row, clip in enumerate(clips):
        if not clip.has_audio:
            out["audio_visual"][row] = out["visual"][row]
        elif not clip.has_visual:
            out["audio_visual"][row] = out["audio"][row]
    return out


def unknown_score(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """1 minus the highest probability, for probabilities [..., C]; 0..1."""
    score: NDArray[np.float32] = np.clip(1.0 - probabilities.max(axis=-1), 0.0, 1.0)
    return score


def _prediction(
    model: Model, file: str, clip: Decoded, scores: dict[str, NDArray[np.float32]], top: int
) -> Prediction:
    missing = [
        name
        for name, there in (("audio", clip.has_audio), ("visual", clip.has_visual))
        if not there
    ]
    readings: dict[str, list[dict[str, Any]]] = {}
    for name in READINGS:
        if name in missing:
            readings[name] = []
            continue
        best = np.argsort(-scores[name], kind="stable")[:top]
        readings[name] = [
            {"label": model.classes[c], "probability": round(float(scores[name][c]), 6)}
            for c in best
        ]
    unknown = float(unknown_score(scores["audio_visual"]))
    threshold = model.unknown_threshold
    return Prediction(
        file=file,
        start_s=round(clip.start_s, 3),
        end_s=round(clip.end_s, 3),
        label=readings["audio_visual"][0]["label"],
        unknown=round(unknown, 6),
        is_unknown=threshold is not None and unknown > threshold,
        readings=readings,
        missing=missing,
    )
