"""Predictions on files: decoding in threads, tokens and readings in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cign.data.container import reason
from cign.data.media import Decoded, MediaError, decode
from cign.data.side_by_side import num_threads, side_by_side
from cign.data.windows import decode_windows
from cign.maps import Maps, read_maps
from cign.methods.base import READINGS
from cign.model_folder import Model
from cign.models.backbone import Backbone
from cign.models.rounding import plain_products
from cign.progress import Progress, Silent
from cign.scoring import judge_by_what_is_there

BATCH = 16


@dataclass(kw_only=True)
class Prediction:
    """What is said about a file, or about a window of it.

    Attributes:
        file: As it was given.
        start_s: Where the window begins.
        end_s: Where it ends.
        label: The most probable class of the audio-visual reading; None if the file failed.
        unknown: Unknown score of that reading, 0..1; which one a model uses is in its
            ``model.json`` (`cign.unknown.rule`).
        unknown_threshold: The model's, for the modalities the file has; None if none is set.
        is_unknown: Whether the score is above it.
        readings: For each reading the most probable classes with their probabilities.
        missing: Modalities the file lacks; the readings then use the other one.
        error: Why the file could not be read; None if it could.
    """

    file: str
    start_s: float | None = None
    end_s: float | None = None
    label: str | None = None
    unknown: float | None = None
    unknown_threshold: float | None = None
    is_unknown: bool | None = None
    readings: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    error: str | None = None


# What is told of a good window besides its prediction: what was decoded, and its maps.
Observer = Callable[["Prediction", Decoded, Maps | None], None]


def predict_files(
    model: Model,
    backbone: Backbone | None,
    files: Iterable[str | Path],
    *,
    top: int = 3,
    every_s: float | None = None,
    progress: Progress | None = None,
    observer: Observer | None = None,
) -> Iterator[Prediction]:
    """Read files, in memory that grows neither with their number nor with their length.

    Args:
        model: The model.
        backbone: Its frozen backbone; None where the method holds its encoders.
        files: Paths; a file that cannot be read gives a prediction with its error.
        top: How many classes of each reading are told.
        every_s: Windows that begin every so many seconds instead of the centre window.
        progress: Advanced by each file.
        observer: Called with each window before its prediction is given.

    Yields:
        Predictions in the order of the files and their windows.
    """
    progress = progress or Silent()
    windows = _decoded(files, model, every_s, progress)
    while batch := list(islice(windows, BATCH)):
        good = [decoded for _, decoded in batch if isinstance(decoded, Decoded)]
        read = read_batch(model, backbone, good, maps=observer is not None)
        row = 0
        for file, decoded in batch:
            if not isinstance(decoded, Decoded):
                yield Prediction(file=file, error=decoded)
                continue
            prediction = _prediction(model, file, decoded, read, row, top)
            if observer is not None:
                observer(prediction, decoded, None if read.maps is None else read.maps.of(row))
            yield prediction
            row += 1


Item = tuple[str, Decoded | str]


def _decoded(
    files: Iterable[str | Path], model: Model, every_s: float | None, progress: Progress
) -> Iterator[Item]:
    """Decode files side by side, ahead of the readings; an unreadable one gives its reason."""
    makers = (partial(_windows, file, model, every_s) for file in files)
    threads = num_threads()
    # One window of many files, or many windows of few.
    ahead, depth = (2 * BATCH, 2) if every_s is None else (threads + 1, BATCH)
    for item in side_by_side(makers, threads=threads, ahead=ahead, depth=depth):
        if item is None:
            progress.advance()
        else:
            yield item


def _windows(file: str | Path, model: Model, every_s: float | None) -> Iterator[Item | None]:
    """Every window of a file, and None where it ends."""
    try:
        if Path(file).is_dir():
            raise MediaError("unreadable", "it is a folder: name the files in it")
        if every_s is None:
            yield str(file), decode(Path(file), model.spec)
        else:
            for window in decode_windows(Path(file), model.spec, every_s):
                yield str(file), window
    except MediaError as error:
        yield str(file), str(error)
    except Exception as error:  # a name that the system refuses, a decoder's fault: others follow
        yield str(file), reason(error)
    yield None


@dataclass(frozen=True, kw_only=True)
class Read:
    """What a batch of windows says.

    Attributes:
        probabilities: For each reading float32, shape [B, C].
        unknown: For each reading unknown scores, shape [B].
        maps: Where and when; None where none were asked for or the method has none.
    """

    probabilities: dict[str, NDArray[np.float32]]
    unknown: dict[str, NDArray[np.float32]]
    maps: Maps | None = None


@torch.inference_mode()
def read_batch(
    model: Model,
    backbone: Backbone | None,
    clips: list[Decoded],
    *,
    maps: bool = False,
) -> Read:
    """Read decoded clips.

    Where a modality is missing, the audio-visual reading is that of the other one.
    """
    if not clips:
        return Read(probabilities={}, unknown={})
    audio = torch.from_numpy(np.stack([clip.audio for clip in clips])).to(model.device)
    frames = torch.from_numpy(np.stack([clip.frames for clip in clips])).to(model.device)
    with plain_products():  # another thread may be teaching the model
        if backbone is not None:
            # float16, as the cached tokens that the model was trained on.
            audio = backbone.audio_tokens(audio).half()
            frames = backbone.visual_tokens(frames).half()
        evidence = model.evidence_reader.read(audio, frames)
    scores = {name: evidence.probabilities[name].float().cpu().numpy().copy() for name in READINGS}
    unknown = {name: model.unknown.values(evidence, name).copy() for name in READINGS}
    has_audio = np.array([clip.has_audio for clip in clips])
    has_visual = np.array([clip.has_visual for clip in clips])
    for values in (scores, unknown):
        judge_by_what_is_there(values, has_audio, has_visual)
    return Read(
        probabilities=scores,
        unknown=unknown,
        maps=read_maps(model.method, audio, frames, model.spec.num_frames) if maps else None,
    )


def judged_by(clip: Decoded) -> str:
    """The reading that a clip is judged by: of the modality it has, where it has one only."""
    if not clip.has_audio:
        return "visual"
    return "audio_visual" if clip.has_visual else "audio"


def _prediction(
    model: Model, file: str, clip: Decoded, read: Read, row: int, top: int
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
        of_clip = read.probabilities[name][row]
        best = np.argsort(-of_clip, kind="stable")[:top]
        readings[name] = [
            {"label": model.classes[c], "probability": round(float(of_clip[c]), 6)} for c in best
        ]
    unknown = float(read.unknown["audio_visual"][row])
    threshold = model.unknown.thresholds.get(judged_by(clip))
    return Prediction(
        file=file,
        start_s=round(clip.start_s, 3),
        end_s=round(clip.end_s, 3),
        label=readings["audio_visual"][0]["label"],
        unknown=round(unknown, 6),
        unknown_threshold=None if threshold is None else round(threshold, 6),
        is_unknown=threshold is not None and unknown > threshold,
        readings=readings,
        missing=missing,
    )
