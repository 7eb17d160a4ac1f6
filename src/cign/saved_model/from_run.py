"""What becomes of a finished run: a model, its rule for unknown clips, the clips it keeps."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from cign.data.store import Store
from cign.data.tasks import TaskClips
from cign.methods import method_class
from cign.methods.capabilities import is_updatable
from cign.open_set.evidence import EvidenceReader
from cign.open_set.rule import UnknownRule, fit_rule
from cign.runs.configuration import RunConfig
from cign.runs.record import versions
from cign.saved_model.model import Model
from cign.saved_model.validation_clips import KeptClips, choose_kept, read_kept, validation_clips
from cign.training.loop import Loop


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
    unknown = unknown_rule(loop, store, kept)
    return Model(
        method=loop.method.to("cpu").eval(),
        groups=loop.clips.tasks.groups,
        regime=config.regime,
        backbone=config.backbone,
        fingerprint=store.tokens(config.backbone).fingerprint if is_frozen else "",
        spec=store.spec,
        unknown=unknown,
        results=results,
        versions=versions(),
        kept=kept,
    )


def unknown_rule(loop: Loop, store: Store, kept: KeptClips | None) -> UnknownRule:
    """The rule for unknown clips, set on validation clips.

    Those kept with the model, which are of all classes; without any, those of the last task, since
    the earlier ones' are gone by then.
    """
    if kept is not None:
        reader = EvidenceReader(loop.method)
        return fit_rule(reader, kept.source, np.arange(kept.num_clips), device=loop.device)
    clips = loop.clips
    validation = clips.of_task(store.indices("val"), clips.tasks.num_tasks - 1)
    return fit_rule(EvidenceReader(loop.method), loop.source, validation, device=loop.device)


def kept_validation_clips(config: RunConfig, clips: TaskClips, store: Store) -> KeptClips | None:
    """Validation clips that a model keeps, if classes can be added to it without old clips.

    A model that holds its encoders cannot be changed, and the store's tokens are not theirs.
    """
    if not is_updatable(method_class(config.method)) or config.regime != "frozen":
        return None
    labels = [clip.labels for clip in store.table.clips]
    candidates = validation_clips(store, clips.tasks.class_order)
    chosen = choose_kept(labels, candidates, Counter())
    return read_kept(store, store.tokens(config.backbone), chosen)
