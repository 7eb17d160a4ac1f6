"""Predictions for files: decoding in threads, encoding and classification in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from cign.backbones.base import Backbone
from cign.data.clips import Clip
from cign.data.media.addresses import Address
from cign.data.media.array_clip import ArrayClip
from cign.data.media.container import reason
from cign.data.media.decode import Decoded, MediaError, MediaSpec, decode
from cign.data.media.download import downloaded
from cign.data.media.side_by_side import Pause, num_threads, side_by_side
from cign.data.media.windows import decode_windows
from cign.data.shards import as_file
from cign.inference.batch_results import (
    BatchPredictions,
    predict_inputs,
    prediction_of,
    threshold_of,
)
from cign.inference.inputs import Input, NoFile
from cign.inference.localization import Maps
from cign.inference.prediction import Prediction
from cign.layers.rounding import plain_products
from cign.saved_model.model import Model
from cign.utils.progress import Progress, Silent

BATCH = 16


# Called for each readable window with its prediction, the decoded data, and its maps.
Observer = Callable[["Prediction", Decoded, Maps | None], None]


def predict_files(
    model: Model,
    backbone: Backbone | None,
    files: Iterable[Input],
    *,
    top: int = 3,
    every_s: float | None = None,
    unknown_threshold: float | None = None,
    progress: Progress | None = None,
    observer: Observer | None = None,
) -> Iterator[Prediction]:
    """Predict files, with memory independent of their number and length.

    Args:
        model: The model.
        backbone: Its frozen backbone; None if the method contains its encoders.
        files: Paths and arrays; an unreadable one gives a prediction with its error. At a `Pause`,
            earlier files are predicted without waiting for a full batch.
        top: Number of classes per modality.
        every_s: Seconds between window starts; None takes only the centre window.
        unknown_threshold: Threshold of the unknown score, instead of the model's thresholds; 0
            disables it.
        progress: Advanced for each file.
        observer: Called for each window before its prediction is yielded.

    Yields:
        Predictions in the order of the files and their windows.
    """
    batches = predicted_batches(
        model, backbone, files, every_s=every_s, progress=progress, maps=observer is not None
    )
    for batch, results in batches:
        yield from _of_batch(model, batch, results, top, unknown_threshold, observer)
        del batch, results  # not held while the next ones are collected


class Failed(NamedTuple):
    """Why a file cannot be decoded, without the traceback that would keep its frames alive."""

    reason: str
    code: str


Item = tuple[str, Decoded | Failed]


def predicted_batches(
    model: Model,
    backbone: Backbone | None,
    files: Iterable[Input],
    *,
    every_s: float | None = None,
    progress: Progress | None = None,
    maps: bool = False,
    features: bool = False,
    tokens: bool = False,
) -> Iterator[tuple[list[Item], BatchPredictions]]:
    """Decode and predict files batch by batch.

    Args:
        model: The model.
        backbone: See `predict_files`.
        files: See `predict_files`.
        every_s: See `predict_files`.
        progress: Advanced for each file.
        maps: See `cign.inference.batch_results.predict_inputs`.
        features: See `cign.inference.batch_results.predict_inputs`.
        tokens: See `cign.inference.batch_results.predict_inputs`.

    Yields:
        Windows in the order of the files, each with the file's name, and the results of those that
        could be decoded, in the same order.
    """
    progress = progress or Silent()
    for batch in _batches(_decoded(files, model, every_s, progress)):
        good = [decoded for _, decoded in batch if isinstance(decoded, Decoded)]
        results = {"maps": maps, "features": features, "tokens": tokens}
        yield batch, predict_batch(model, backbone, good, **results)
        del batch, good  # not held while the next one is collected


def _of_batch(
    model: Model,
    batch: list[Item],
    found: BatchPredictions,
    top: int,
    unknown_threshold: float | None,
    observer: Observer | None,
) -> Iterator[Prediction]:
    """The predictions of a batch, in its order."""
    row = 0
    for file, decoded in batch:
        if not isinstance(decoded, Decoded):
            yield Prediction(file=file, error=decoded.reason, error_code=decoded.code)
            continue
        threshold = threshold_of(model, decoded, unknown_threshold)
        prediction = prediction_of(model, file, decoded, found, row, top, threshold)
        if observer is not None:
            observer(prediction, decoded, None if found.maps is None else found.maps.of(row))
        yield prediction
        row += 1


def _batches(items: Iterable[Item | Pause]) -> Iterator[list[Item]]:
    """Batches of `BATCH` items; smaller ones before a pause and at the end."""
    batch: list[Item] = []
    for item in items:
        if not isinstance(item, Pause):
            batch.append(item)
            if len(batch) < BATCH:
                continue
        if batch:
            yield batch
            batch = []
    if batch:
        yield batch


def _decoded(
    files: Iterable[Input], model: Model, every_s: float | None, progress: Progress
) -> Iterator[Item | Pause]:
    """Decode files in parallel, ahead of the encoders; an unreadable file gives its reason."""
    makers = (
        file if isinstance(file, Pause) else partial(windows_of, file, model, every_s)
        for file in files
    )
    threads = num_threads()
    # One window each of many files, or many windows of few files.
    ahead, depth = (2 * BATCH, 2) if every_s is None else (threads + 1, BATCH)
    for item in side_by_side(makers, threads=threads, ahead=ahead, depth=depth):
        if item is None:
            progress.advance()
        else:
            yield item


def windows_of(
    file: str | Path | Address | ArrayClip | Clip | NoFile, model: Model, every_s: float | None
) -> Iterator[Item | None]:
    """Every window of a file with the name of the file, or why it is not decoded; then None."""
    if isinstance(file, NoFile):
        yield file.name, Failed(file.reason, file.code)
        yield None
        return
    name = _name_of(file)
    try:
        if isinstance(file, ArrayClip):
            for window in file.windows(model.media_spec, every_s):
                yield name, window
        elif isinstance(file, Clip):
            with as_file(file.path) as place:
                times = {"start_s": file.start_s, "end_s": file.end_s}
                yield name, decode(place, model.media_spec, **times)
        elif isinstance(file, Address):
            with downloaded(file) as place:
                for window in _of_file(place, model.media_spec, every_s):
                    yield name, window
        elif Path(file).is_dir():
            raise MediaError("unreadable", "it is a folder: name the files in it")
        else:
            for window in _of_file(Path(file), model.media_spec, every_s):
                yield name, window
    except MediaError as error:
        yield name, Failed(str(error), error.code)
    except Exception as error:  # an invalid name or a decoder failure must not stop the others
        yield name, Failed(reason(error), "file-unreadable")
    yield None


def _of_file(file: Path, spec: MediaSpec, every_s: float | None) -> Iterator[Decoded]:
    """Every window of a file, or the centre window."""
    if every_s is None:
        yield decode(file, spec)
    else:
        yield from decode_windows(file, spec, every_s)


def _name_of(file: str | Path | Address | ArrayClip | Clip) -> str:
    if isinstance(file, Address):
        return file.shown
    if isinstance(file, Clip):
        return file.id
    return file.name if isinstance(file, ArrayClip) else str(file)


@torch.inference_mode()
def predict_batch(
    model: Model,
    backbone: Backbone | None,
    clips: list[Decoded],
    *,
    maps: bool = False,
    features: bool = False,
    tokens: bool = False,
) -> BatchPredictions:
    """Predict decoded clips.

    Args:
        model: The model.
        backbone: Its encoders; None if the method contains them.
        clips: B decoded windows.
        maps: Whether to compute localization maps.
        features: Whether to return the features of the unknown score.
        tokens: Whether to return the tokens.

    Returns:
        The predictions; if a modality is missing, the audio-visual one is that of the other one.
    """
    if not clips:
        return BatchPredictions(probabilities={}, unknown={})
    audio = torch.from_numpy(np.stack([clip.audio for clip in clips])).to(model.device)
    frames = torch.from_numpy(np.stack([clip.frames for clip in clips])).to(model.device)
    if backbone is not None:
        with plain_products():  # another thread may be updating the model
            # float16, like the cached tokens of the training clips.
            audio = backbone.audio_tokens(audio).half()
            frames = backbone.visual_tokens(frames).half()
    results = {"maps": maps, "features": features, "tokens": tokens}
    return predict_inputs(model, audio, frames, clips, **results)
