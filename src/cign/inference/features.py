"""Predictions for precomputed features, by models whose encoders are not needed."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from cign.data.formats.features.rows import ArrayRows
from cign.data.prepare.feature_checks import FeatureCheck
from cign.errors import InputError
from cign.inference.batch_results import predict_inputs, prediction_of, threshold_of
from cign.inference.predict import BATCH
from cign.inference.prediction import Prediction
from cign.saved_model.model import Model


@dataclass(frozen=True, kw_only=True)
class FeatureClip:
    """A clip of which only features are known; see `cign.inference.batch_results.Window`."""

    has_audio: bool
    has_visual: bool
    start_s: float | None = None
    end_s: float | None = None


def predict_features(
    model: Model,
    audio: ArrayLike,
    visual: ArrayLike,
    *,
    ids: Sequence[str] | None = None,
    top: int = 3,
    unknown_threshold: float | None = None,
) -> Generator[Prediction, None, None]:
    """Predict features of the encoders whose tokens the model was trained on.

    A clip whose features of a modality are all zero lacks that modality, as in a store.

    Args:
        model: A model of frozen encoders.
        audio: Audio features, shape [N, D] or [N, T, D].
        visual: Visual features, likewise.
        ids: Names of the clips; their numbers if absent.
        top: Number of classes per modality.
        unknown_threshold: See `cign.inference.predict.predict_files`.

    Returns:
        Predictions in the order of the clips, named by ids; a clip without any features has an
        error. The arguments are checked at once.

    Raises:
        InputError: If the features do not suit the model or are not finite.
    """
    if model.regime != "frozen":
        raise InputError(
            "unsupported",
            "this model was trained end to end and takes clips, not features: use predict",
        )
    shape = model.method.setup.shape
    rows = {
        "audio": _tokens(audio, "audio", (shape.num_audio_tokens, shape.audio_dim)),
        "visual": _tokens(visual, "visual", (shape.num_visual_tokens, shape.visual_dim)),
    }
    lengths = {kind: len(values) for kind, values in rows.items()}
    names = [str(number) for number in range(lengths["audio"])] if ids is None else list(ids)
    if len({*lengths.values(), len(names)}) > 1:
        raise InputError(
            "bad-value",
            f"there are {lengths['audio']} rows of audio, {lengths['visual']} of visual and "
            f"{len(names)} ids: give one of each for every clip",
        )
    return _predictions(model, rows["audio"], rows["visual"], names, top, unknown_threshold)


def _tokens(values: ArrayLike, kind: str, shape: tuple[int, int]) -> NDArray[np.float16]:
    """Features in half precision, as in a store.

    Raises:
        InputError: If they have another shape, or values that are not finite or out of range.
    """
    rows = ArrayRows(np.asarray(values), kind)
    if rows.shape[1:] != shape:
        raise InputError(
            "weights-mismatch",
            f"{kind} features have shape {list(rows.shape)}, but the model was trained on "
            f"{shape[0]} x {shape[1]} values per clip: give features of the same encoders",
        )
    every = np.arange(rows.shape[0])
    check = FeatureCheck(kind, [str(number) for number in every])
    halves = check.add(0, rows.read(every))
    check.finish_values()
    return halves


def _predictions(
    model: Model,
    audio: NDArray[np.float16],
    visual: NDArray[np.float16],
    names: Sequence[str],
    top: int,
    unknown_threshold: float | None,
) -> Generator[Prediction, None, None]:
    for start in range(0, len(names), BATCH):
        some = slice(start, start + BATCH)
        clips = [
            FeatureClip(has_audio=bool(a.any()), has_visual=bool(v.any()))
            for a, v in zip(audio[some], visual[some], strict=True)
        ]
        found = predict_inputs(
            model,
            torch.from_numpy(audio[some]).to(model.device),
            torch.from_numpy(visual[some]).to(model.device),
            clips,
        )
        for row, (name, clip) in enumerate(zip(names[some], clips, strict=True)):
            if not clip.has_audio and not clip.has_visual:
                reason = "all audio and visual features are zero"
                yield Prediction(file=name, error=reason, error_code="bad-clip")
                continue
            threshold = threshold_of(model, clip, unknown_threshold)
            yield prediction_of(model, name, clip, found, row, top, threshold)
