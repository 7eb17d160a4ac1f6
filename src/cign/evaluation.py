"""A model's numbers on the clips of a store."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from cign.data.batches import ClipSource
from cign.data.store import Store
from cign.data.tasks import IntArray
from cign.errors import InputError
from cign.metrics.incremental import summarise
from cign.metrics.open_set import answered_right, is_known, open_set
from cign.metrics.predictions import READINGS, Predictions
from cign.model_folder import Model
from cign.run_config import RunConfig
from cign.runs import model_source
from cign.unknown.evidence import Evidence, EvidenceReader
from cign.unknown.rule import COMBINED, UnknownRule, possible_scores, read_evidence, rule_on


def evaluate_model(model: Model, config: RunConfig, store: Store, split: str) -> dict[str, Any]:
    """See `cign.learner.Learner.evaluate`."""
    config = dataclasses.replace(config, backbone=model.backbone, regime=model.regime)
    known = set(model.classes)
    clips = store.table.clips
    chosen = [i for i in store.indices(split) if known & set(clips[i].labels)]
    if not chosen:
        raise InputError(
            f"store {store.folder} has no {split} clip of a class the model knows: "
            "use another store or split"
        )
    source = model_source(model, config, store)
    reader = EvidenceReader(model.method, with_distance=True)
    indices = np.array(chosen, dtype=np.int64)
    evidence = read_evidence(reader, source, indices)
    predictions = Predictions(
        clip_ids=[clips[i].id for i in indices],
        labels=[clips[i].labels for i in indices],
        class_names=model.classes,
        task_sizes=(len(model.classes),),
    )
    probabilities = {
        reading: np.concatenate([one.probabilities[reading].float().numpy() for one in evidence])
        for reading in READINGS
    }
    predictions.add_task(probabilities)
    result: dict[str, Any] = {"num_clips": len(indices), "readings": summarise(predictions)}
    strange = _unknown_clips(model, store, split)
    if len(strange):
        result["open_set"] = _open_set(
            model, reader, source, evidence, predictions, read_evidence(reader, source, strange)
        )
    return result


def _unknown_clips(model: Model, store: Store, split: str) -> IntArray:
    """Clips of split ``unknown`` and of the split at hand that show no class the model knows."""
    found = np.unique(np.concatenate([store.indices(split), store.indices("unknown")]))
    known = set(model.classes)
    rows = [i for i in found if known.isdisjoint(store.table.clips[i].labels)]
    return np.array(rows, dtype=np.int64)


def _open_set(
    model: Model,
    reader: EvidenceReader,
    source: ClipSource,
    evidence: list[Evidence],
    predictions: Predictions,
    strange: list[Evidence],
) -> dict[str, Any]:
    """How well the model tells unknown clips, by its own score and by others, for each reading.

    A score that needs validation clips to be put together is reported only where it is the
    model's own, or where clips are kept with the model.
    """
    rows, _ = is_known(predictions.labels, model.classes)
    labels = [predictions.labels[i] for i in rows]
    rules = {model.unknown.score: model.unknown}
    if model.kept is not None:
        validation = read_evidence(reader, model.kept.source, np.arange(model.kept.num_clips))
    for name in possible_scores(reader):
        if name in rules or (name == COMBINED and model.kept is None):
            continue
        # Without validation clips the known ones stand in: they set no more than the scale.
        base = validation if model.kept is not None else evidence
        rules[name] = rule_on(base, name, multi_label=model.method.setup.multi_label)
    readings: dict[str, Any] = {}
    for reading in READINGS:
        right = answered_right(predictions.scores[0][reading][rows], labels, model.classes)
        readings[reading] = {
            name: open_set(_values(rule, evidence, reading)[rows], right, told)
            for name, rule in rules.items()
            for told in [_values(rule, strange, reading)]
        }
    threshold = model.unknown.thresholds.get("audio_visual")
    known = _values(model.unknown, evidence, "audio_visual")[rows]
    unknown = _values(model.unknown, strange, "audio_visual")
    return {
        "num_known": len(rows),
        "num_unknown": len(unknown),
        "score": model.unknown.score,
        "threshold": threshold,
        "known_called_unknown": _percent_above(known, threshold),
        "unknown_called_unknown": _percent_above(unknown, threshold),
        "readings": readings,
    }


def _values(rule: UnknownRule, evidence: list[Evidence], reading: str) -> np.ndarray:
    return np.concatenate([rule.values(one, reading) for one in evidence])


def _percent_above(values: np.ndarray, threshold: float | None) -> float | None:
    if threshold is None or not len(values):
        return None
    return float(100.0 * np.mean(values > threshold))
