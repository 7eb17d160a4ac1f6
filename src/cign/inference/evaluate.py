"""Evaluation of a model on the clips of a store."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cign.data.batches import BoolArray
from cign.data.clips import Clip
from cign.data.tasks import IntArray
from cign.inference.clip_results import ClipResults, joined
from cign.inference.sources import TestClips
from cign.metrics import calibration
from cign.metrics.classes import (
    class_recalls,
    num_tested,
    percent_interval,
    worst_confusions,
)
from cign.metrics.incremental import summarise
from cign.metrics.open_set import answered_right, is_known, open_set
from cign.metrics.predictions import Predictions
from cign.open_set.evidence import Evidence, EvidenceReader
from cign.open_set.rule import UnknownRule, read_evidence
from cign.saved_model.model import Model
from cign.training.scoring import fall_back_to_present_modality
from cign.vocabulary import MODALITIES


def evaluate_model(model: Model, tested: TestClips, out: Path | None = None) -> dict[str, Any]:
    """See `cign.learner.Learner.evaluate`."""
    source, indices = tested.source, tested.known
    reader = EvidenceReader(model.method)
    evidence = read_evidence(reader, source, indices)
    predictions = Predictions(
        clip_ids=[tested.clips[i].id for i in indices],
        labels=[tested.clips[i].likely_labels for i in indices],
        class_names=model.classes,
        task_sizes=(len(model.classes),),
    )
    known_clips = _Read(evidence, *source.availability(indices))
    probabilities = known_clips.probabilities()
    predictions.add_task(probabilities)
    result = results_of(predictions)
    unknown = tested.unknown
    results = [_clip_results(model, tested.clips, indices, known_clips)]
    if len(unknown):
        unknown_clips = _Read(read_evidence(reader, source, unknown), *source.availability(unknown))
        result["open_set"] = _open_set(model, known_clips, unknown_clips, predictions)
        results.append(_clip_results(model, tested.clips, unknown, unknown_clips))
    if len(tested.background):
        rows = tested.background
        clips = _Read(read_evidence(reader, source, rows), *source.availability(rows))
        result["background"] = _background(model, clips)
        results.append(_clip_results(model, tested.clips, rows, clips))
    if out is not None:
        joined(results).write(out)
    return result


def results_of(predictions: Predictions) -> dict[str, Any]:
    """Metrics with intervals, recall of each class, confusions and calibration."""
    return {
        "num_clips": predictions.num_clips,
        "modalities": _with_intervals(predictions),
        "classes": [dataclasses.asdict(one) for one in class_recalls(predictions, "audio_visual")],
        "confusions": [dataclasses.asdict(one) for one in worst_confusions(predictions)],
        "calibration": calibration.summarise(predictions),
    }


def _with_intervals(predictions: Predictions) -> dict[str, Any]:
    """The metrics, and ``interval``, the 95 % interval of accuracy; None for precisions."""
    numbers = summarise(predictions)
    for one in numbers.values():
        found = None
        if one["measure"] == "accuracy":
            found = percent_interval(one["last"], num_tested(predictions))
        one["interval"] = None if found is None else list(found)
    return numbers


def _clip_results(
    model: Model,
    listed: Sequence[Clip],
    indices: IntArray,
    clips: _Read,
) -> ClipResults:
    """Per-clip results of the model."""
    rule = model.unknown
    return ClipResults(
        clips=tuple(listed[i] for i in indices),
        class_names=model.classes,
        probabilities=clips.probabilities(),
        unknown=clips.values(rule)["audio_visual"],
        is_unknown=clips.above_threshold(rule),
        has_audio=clips.has_audio,
        has_visual=clips.has_visual,
    )


@dataclass(frozen=True)
class _Read:
    """The evidence of N clips, and which of them have an audio track and a video track."""

    evidence: list[Evidence]
    has_audio: BoolArray
    has_visual: BoolArray

    def values(self, rule: UnknownRule) -> dict[str, NDArray[np.float32]]:
        """Unknown scores by modality, each of shape [N]."""
        values = {
            modality: np.concatenate([rule.values(one, modality) for one in self.evidence])
            for modality in MODALITIES
        }
        fall_back_to_present_modality(values, self.has_audio, self.has_visual)
        return values

    def probabilities(self) -> dict[str, NDArray[np.float32]]:
        """Probabilities by modality, each of shape [N, C]."""
        found = {
            modality: np.concatenate(
                [one.probabilities[modality].float().cpu().numpy() for one in self.evidence]
            )
            for modality in MODALITIES
        }
        fall_back_to_present_modality(found, self.has_audio, self.has_visual)
        return found

    def above_threshold(self, rule: UnknownRule) -> BoolArray | None:
        """Whether the rule calls each clip unknown, shape [N]; None without a threshold."""
        if not rule.thresholds:
            return None
        # Per clip, so that the threshold is that of the modality whose score is used.
        limits = {
            modality: np.full(len(self.has_audio), rule.thresholds[modality])
            for modality in MODALITIES
        }
        fall_back_to_present_modality(limits, self.has_audio, self.has_visual)
        return np.asarray(self.values(rule)["audio_visual"] > limits["audio_visual"])

    def percent_unknown(self, rule: UnknownRule, rows: IntArray | slice) -> float | None:
        """Percent of clips that the rule calls unknown; None without clips or threshold."""
        found = self.above_threshold(rule)
        if found is None or not len(found[rows]):
            return None
        return float(100.0 * np.mean(found[rows]))


def _background(model: Model, clips: _Read) -> dict[str, Any]:
    """False alarms: background clips that the model does not call unknown.

    Without a threshold it calls every clip one of its classes.
    """
    is_unknown, number = clips.above_threshold(model.unknown), len(clips.has_audio)
    called = number if is_unknown is None else number - int(is_unknown.sum())
    found = percent_interval(100.0 * called / number, number)
    return {
        "num_clips": number,
        "called_known": called,
        "percent": 100.0 * called / number,
        "interval": None if found is None else list(found),
        "threshold": model.unknown_threshold,
    }


def _open_set(
    model: Model, known: _Read, unknown: _Read, predictions: Predictions
) -> dict[str, Any]:
    """Detection of unknown clips by the model's own score and by ``max_probability``."""
    rows, _ = is_known(predictions.labels, model.classes)
    labels = [predictions.labels[i] for i in rows]
    rules = {rule.score: rule for rule in (model.unknown, UnknownRule())}
    modalities: dict[str, Any] = {modality: {} for modality in MODALITIES}
    for name, rule in rules.items():
        of_known, of_unknown = known.values(rule), unknown.values(rule)
        for modality in MODALITIES:
            right = answered_right(predictions.scores[0][modality][rows], labels, model.classes)
            modalities[modality][name] = open_set(
                of_known[modality][rows], right, of_unknown[modality]
            )
    return {
        "num_known": len(rows),
        "num_unknown": len(unknown.has_audio),
        "score": model.unknown.score,
        "threshold": model.unknown.thresholds.get("audio_visual"),
        "known_called_unknown": known.percent_unknown(model.unknown, rows),
        "unknown_called_unknown": unknown.percent_unknown(model.unknown, slice(None)),
        "modalities": modalities,
    }
