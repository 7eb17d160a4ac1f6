"""Add the clips of a source to a trained model; clips learned before may be replaced."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from cign.backbones.base import Backbone
from cign.data.media.decode import MediaSpec
from cign.methods.capabilities import sums_of_views
from cign.saved_model.model import Model
from cign.updating.edits import add_clips, check_updatable, encoders_for, measured_again
from cign.updating.forgetting import forget_recorded
from cign.updating.impact import Addition
from cign.updating.learned_clips import ClipsToForget, positions_of
from cign.updating.new_classes import check_listed
from cign.updating.new_clips import NewClips, Source, choose_clips, num_clips, opened, unprepared
from cign.utils.wording import listed


def add_source(
    model: Model,
    source: Source,
    backbone: Callable[[], Backbone | None],
    *,
    keep: bool,
    replace_learned: bool = False,
    **how: Any,
) -> tuple[Model, Addition]:
    """Add the clips of a source to a model.

    Clips that were learned before count twice then, unless they are replaced.

    Args:
        model: A model of a closed-form method.
        source: See `cign.updating.new_clips.opened`.
        backbone: Returns the model's backbone, None if the model contains its encoders; called
            only if tokens must be computed.
        keep: Whether the model stores a few validation clips per class.
        replace_learned: Forget what the model learned of these clips before, for example with
            wrong labels.
        how: Options of `cign.updating.new_clips.opened`.

    Returns:
        See `add_clips`.

    Raises:
        InputError: If clips, model and names do not match.
        RunError: If the ridge solution is singular.
    """
    began = time.monotonic()
    check_updatable(model)  # before anything is decoded
    encoders: Backbone | MediaSpec | str | None = None
    path = unprepared(source)
    if path is not None:
        listed = {name: how[name] for name in ("format", "media") if name in how}
        check_listed(model, path, **listed)
        encoders = encoders_for(model, path, how.get("format"), backbone)
    with (
        TemporaryDirectory(prefix="cign-add-") as folder,
        opened(source, encoders, **how) as (found, bare, notes),
    ):
        chosen = choose_clips(
            model,
            found,
            Path(folder),
            has_no_splits=bare,
            keep=keep,
            notes=notes,
            progress=how.get("progress"),
        )
        changed, addition = add_chosen(model, chosen, replace_learned=replace_learned)
    return changed, replace(addition, seconds=time.monotonic() - began)


def add_chosen(model: Model, chosen: NewClips, *, replace_learned: bool) -> tuple[Model, Addition]:
    """Add clips that are decoded and encoded.

    Args:
        model: A model of a closed-form method.
        chosen: The clips.
        replace_learned: See `add_source`.

    Returns:
        See `add_clips`. The effect is that of the whole change; the leave-one-out accuracy is
        from before the earlier labels were forgotten.

    Raises:
        InputError: If clips, model and names do not match.
        RunError: If the ridge solution is singular.
    """
    before = _learned_before(model, chosen)
    changed, addition = add_clips(model, chosen)
    number = len(before.rows)
    if number and replace_learned:
        changed, forgotten = forget_recorded(changed, before, chosen.source)
        # It is part of the addition.
        *changes, last, _ = changed.changes
        if forgotten.removed:
            last = {**last, "text": f"{last['text']}, removed {listed(forgotten.removed, 5)}"}
        changed = replace(changed, changes=(*changes, last))
        addition = replace(
            measured_again(addition, model, changed, chosen),
            num_replaced=number,
            removed=forgotten.removed,
            alike=(),  # clips that were learned before are no evidence that classes look alike
        )
    elif number:
        note = (
            f"learned before, so that they count twice now: {num_clips(number)}; use --replace to "
            "learn them with their new labels alone"
        )
        addition = replace(addition, notes=(*addition.notes, note))
    return changed, addition


def _learned_before(model: Model, clips: NewClips) -> ClipsToForget:
    """What the model has learned of clips that are to be added."""
    sums = sums_of_views(model.method)
    if sums is None:
        none = np.zeros(0, dtype=np.int64)
        return ClipsToForget(rows=none, indices=none)
    rows = sums.records.rows_of(clips.hashes[clips.learned])
    indices = positions_of(sums.records, rows, clips.hashes, clips.learned)
    return ClipsToForget(rows=rows, indices=indices)
