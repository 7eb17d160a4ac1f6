"""Scores and predictions of a batch, from what the method takes: tokens, or media."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cign.inference.localization import Maps, maps_of
from cign.inference.prediction import Prediction
from cign.layers.rounding import plain_products
from cign.methods.capabilities import updatable
from cign.saved_model.class_thresholds import DEFAULT
from cign.saved_model.model import Model
from cign.training.scoring import fall_back_to_present_modality
from cign.vocabulary import MODALITIES


@dataclass(frozen=True, kw_only=True)
class BatchPredictions:
    """Predictions of a batch of windows.

    Attributes:
        probabilities: For each modality float32, shape [B, C].
        unknown: For each modality unknown scores, shape [B].
        evidence: For each part of the unknown score and modality, see
            `UnknownRule.standardised_parts`, shape [B].
        maps: Localization maps; None if not requested or if the method has none.
        features: `Output.features` by modality, float32, shape [B, W]; empty if not requested or if
            the method has none.
        tokens: Audio and visual tokens of the batch; None if not requested.
    """

    probabilities: dict[str, NDArray[np.float32]]
    unknown: dict[str, NDArray[np.float32]]
    evidence: dict[str, dict[str, NDArray[np.float32]]] = field(default_factory=dict)
    maps: Maps | None = None
    features: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    tokens: tuple[Tensor, Tensor] | None = None


@torch.inference_mode()
def predict_inputs(
    model: Model,
    audio: Tensor,
    visual: Tensor,
    clips: Sequence[Window],
    *,
    maps: bool = False,
    features: bool = False,
    tokens: bool = False,
) -> BatchPredictions:
    """Predict what the method takes: tokens, or media if it contains its encoders.

    Args:
        model: The model.
        audio: Audio tokens or samples of B clips, on the device of the model.
        visual: Visual tokens or frames of B clips, on the device of the model.
        clips: Which modalities each of these clips has.
        maps: Whether localization maps are needed.
        features: Whether the features are needed.
        tokens: Whether the tokens are needed; of an updatable method.
    """
    with plain_products():
        if tokens:
            encoding = updatable(model.method)
            assert encoding is not None
            audio, visual = encoding.tokens(audio, visual)
        evidence = model.evidence_reader.read(audio, visual)
    scores = {
        name: evidence.probabilities[name].float().cpu().numpy().copy() for name in MODALITIES
    }
    unknown = {name: model.unknown.values(evidence, name).copy() for name in MODALITIES}
    by_modality = {name: model.unknown.standardised_parts(evidence, name) for name in MODALITIES}
    parts = {
        part: {name: by_modality[name][part] for name in MODALITIES}
        for part in by_modality["audio_visual"]
    }
    has_audio = np.array([clip.has_audio for clip in clips])
    has_visual = np.array([clip.has_visual for clip in clips])
    for values in (scores, unknown, *parts.values()):
        fall_back_to_present_modality(values, has_audio, has_visual)
    return BatchPredictions(
        probabilities=scores,
        unknown=unknown,
        evidence=parts,
        maps=maps_of(evidence.output, model.method.setup.shape, model.media_spec.num_frames)
        if maps
        else None,
        features={
            name: values.float().cpu().numpy() for name, values in evidence.output.features.items()
        }
        if features
        else {},
        tokens=(audio, visual) if tokens else None,
    )


class Window(Protocol):
    """A clip or a part of it, as far as a prediction describes it."""

    @property
    def has_audio(self) -> bool:
        """Whether there is audio."""

    @property
    def has_visual(self) -> bool:
        """Whether there is video."""

    @property
    def start_s(self) -> float | None:
        """Start in seconds; None if unknown."""

    @property
    def end_s(self) -> float | None:
        """End in seconds; None if unknown."""


def judged_by(clip: Window) -> str:
    """The modality of the final prediction: audio-visual, or the only one that a clip has."""
    if not clip.has_audio:
        return "visual"
    return "audio_visual" if clip.has_visual else "audio"


def threshold_of(model: Model, clip: Window, given: float | None) -> float | None:
    """The unknown threshold that applies to a clip; None if there is none or it is disabled."""
    threshold = model.unknown.thresholds.get(judged_by(clip)) if given is None else given
    return threshold if given != 0 else None


def class_limits(model: Model, modality: str) -> list[float | None]:
    """The threshold of each class in a modality; None for a class without one."""
    found = model.thresholds
    return [None if found is None else found.of(name, modality) for name in model.classes]


def assigned(
    model: Model, probabilities: NDArray[np.float32], limits: Sequence[float | None]
) -> list[str]:
    """The classes that a clip is assigned to, most probable first; see `Prediction.labels`.

    Args:
        model: The model.
        probabilities: Of the clip, shape [C].
        limits: Threshold of each class, from `class_limits`.
    """
    order = [int(c) for c in np.argsort(-probabilities, kind="stable")]
    if model.method.setup.multi_label:
        least = [DEFAULT if limit is None else limit for limit in limits]
    else:
        order, least = order[:1], [0.0 if limit is None else limit for limit in limits]
    return [model.classes[c] for c in order if probabilities[c] >= least[c]]


def prediction_of(
    model: Model,
    file: str,
    clip: Window,
    found: BatchPredictions,
    row: int,
    top: int,
    threshold: float | None,
) -> Prediction:
    """The prediction of one clip of a batch.

    Args:
        model: The model.
        file: Name of the file.
        clip: The window.
        found: Predictions of its batch.
        row: Its row in the batch.
        top: Number of classes per modality, at least 1.
        threshold: Unknown score above which a clip is called unknown; None if none is.
    """
    has = {"audio": clip.has_audio, "visual": clip.has_visual}
    missing = [name for name, is_present in has.items() if not is_present]
    modalities: dict[str, list[dict[str, Any]]] = {}
    for name in MODALITIES:
        if name in missing:
            modalities[name] = []
            continue
        of_clip = found.probabilities[name][row]
        best = np.argsort(-of_clip, kind="stable")[:top]
        modalities[name] = [
            {"label": model.classes[c], "probability": round(float(of_clip[c]), 6)} for c in best
        ]
    unknown = float(found.unknown["audio_visual"][row])
    of_clip = found.probabilities["audio_visual"][row]
    limits = class_limits(model, judged_by(clip))
    first = int(of_clip.argmax())
    limit = limits[first]
    return Prediction(
        file=file,
        start_s=None if clip.start_s is None else round(clip.start_s, 3),
        end_s=None if clip.end_s is None else round(clip.end_s, 3),
        label=modalities["audio_visual"][0]["label"],
        unknown=round(unknown, 6),
        unknown_threshold=None if threshold is None else round(threshold, 6),
        is_unknown=threshold is not None and unknown > threshold,
        unknown_evidence={
            part: round(float(values["audio_visual"][row]), 3)
            for part, values in found.evidence.items()
        },
        modalities=modalities,
        labels=assigned(model, of_clip, limits),
        threshold=None if limit is None else round(limit, 6),
        below_threshold=None if limit is None else bool(of_clip[first] < limit),
        missing=missing,
    )
