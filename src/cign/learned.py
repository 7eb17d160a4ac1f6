"""What becomes of a finished run: a model, its threshold, the clips it keeps."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from cign.data.batches import ClipSource
from cign.data.store import Store
from cign.data.tasks import IntArray, TaskClips
from cign.kept import KeptClips, choose_kept, read_kept, validation_clips
from cign.methods import method_class
from cign.methods.analytic import Analytic
from cign.methods.base import Method
from cign.model_folder import Model
from cign.predictor import unknown_score
from cign.run_config import RunConfig
from cign.run_record import versions
from cign.scoring import score_clips
from cign.train import Loop

# The unknown threshold lets this share of validation clips through.
KNOWN_SHARE = 0.95


def model_of(
    config: RunConfig, loop: Loop, store: Store, kept: KeptClips | None, results: dict[str, Any]
) -> Model:
    """The model of a finished run; the loop's method moves to the CPU.

    Args:
        config: Of the run.
        loop: Finished.
        store: What was learned from.
        kept: See `kept_validation_clips`.
        results: Figures for the model card.
    """
    is_frozen = config.regime == "frozen"
    return Model(
        method=loop.method.to("cpu").eval(),
        groups=loop.clips.tasks.groups,
        regime=config.regime,
        backbone=config.backbone,
        fingerprint=store.tokens(config.backbone).fingerprint if is_frozen else "",
        spec=store.spec,
        unknown_threshold=unknown_threshold(loop, store),
        results=results,
        versions=versions(),
        kept=kept,
    )


def unknown_threshold(loop: Loop, store: Store) -> float | None:
    """Unknown score that keeps 95 % of the last task's validation clips; None without any."""
    clips = loop.clips
    validation = clips.of_task(store.indices("val"), clips.tasks.num_tasks - 1)
    if len(validation) == 0:
        return None
    return threshold_on(loop.method, loop.source, validation, loop.device)


def threshold_on(
    method: Method, source: ClipSource, indices: IntArray, device: str = "cpu"
) -> float:
    """Unknown score that lets 95 % of some validation clips through."""
    scores = score_clips(method, source, indices, device)
    return float(np.quantile(unknown_score(scores["audio_visual"]), KNOWN_SHARE))


def kept_validation_clips(config: RunConfig, clips: TaskClips, store: Store) -> KeptClips | None:
    """Validation clips that a model keeps, if classes can be added to it without old clips."""
    if not issubclass(method_class(config.method), Analytic):
        return None
    labels = [clip.labels for clip in store.table.clips]
    candidates = validation_clips(store, clips.tasks.class_order)
    chosen = choose_kept(labels, candidates, Counter())
    return read_kept(store, store.tokens(config.backbone), chosen)
