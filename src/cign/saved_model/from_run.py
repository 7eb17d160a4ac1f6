"""Build a model from a finished run, with its rule for unknown clips and validation clips."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from cign.methods import method_class
from cign.methods.capabilities import is_updatable
from cign.open_set.evidence import EvidenceReader
from cign.open_set.rule import UnknownRule, fit_rule
from cign.runs.configuration import RunConfig
from cign.runs.record import versions
from cign.runs.training_data import TrainingData
from cign.saved_model.model import Model
from cign.saved_model.validation_clips import KeptClips, choose_kept, read_kept, validation_clips
from cign.training.encoding import encode_clips
from cign.training.loop import Loop


def model_of(
    config: RunConfig,
    loop: Loop,
    data: TrainingData,
    kept: KeptClips | None,
    results: dict[str, Any],
) -> Model:
    """Build the model of a finished run; moves the loop's method to the CPU.

    Args:
        config: Configuration of the run.
        loop: The finished training loop.
        data: The data of the run.
        kept: See `kept_validation_clips`.
        results: Metrics for the model card.
    """
    unknown = unknown_rule(loop, data, kept)
    return Model(
        method=loop.method.to("cpu").eval(),
        groups=loop.clips.tasks.groups,
        regime=config.data.regime,
        backbone=config.data.backbone,
        fingerprint=data.fingerprint,
        spec=data.spec,
        unknown=unknown,
        results=results,
        versions=versions(),
        kept=kept,
        estimates=tuple(loop.estimates),
    )


def unknown_rule(loop: Loop, data: TrainingData, kept: KeptClips | None) -> UnknownRule:
    """Fit the rule for unknown clips on validation clips.

    Uses those stored with the model, which cover all classes. A model without them uses those of
    the last task, because earlier ones are no longer available then.
    """
    reader, clips = EvidenceReader(loop.method), loop.clips
    how: dict[str, Any] = {"device": loop.device, "batch_size": loop.eval_batch_size}
    if kept is not None:
        return fit_rule(reader, kept.source, np.arange(kept.num_clips), **how)
    validation = clips.of_task(data.validation, clips.tasks.num_tasks - 1)
    return fit_rule(reader, loop.source, validation, **how)


def kept_validation_clips(config: RunConfig, loop: Loop, data: TrainingData) -> KeptClips | None:
    """Validation clips for a model, if classes can be added to it without old clips; else None.

    Args:
        config: Configuration of the run.
        loop: The finished training loop, whose method may contain the encoders.
        data: The data of the run.
    """
    if not is_updatable(method_class(config.method)):
        return None
    classes = data.clips.tasks.class_order
    candidates = validation_clips(data.source, data.labels, data.validation, classes)
    chosen = choose_kept(data.labels, candidates, Counter())
    if config.data.regime == "frozen" or len(chosen) == 0:
        return read_kept(data.source, data.labels, chosen)
    with TemporaryDirectory(prefix="cign-tokens-") as folder:
        encoded = encode_clips(loop.method, data.source, chosen, Path(folder))
        return read_kept(encoded, data.labels, chosen)
