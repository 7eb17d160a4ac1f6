"""Forget clips: a model's sums without them, as if it had never learned them. All of it is ours."""

from __future__ import annotations

import copy
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cign.backbones.base import Backbone
from cign.data.batches import ArraySource, cut
from cign.data.tasks import IntArray
from cign.errors import InputError
from cign.methods.base import Batch
from cign.methods.capabilities import selection_in_words, updatable
from cign.methods.forgetting import forget_clips
from cign.saved_model.model import Model
from cign.updating.edits import (
    check_updatable,
    encoders_for,
    known_name,
    rule_after_removal,
    with_change,
)
from cign.updating.impact import Effect, measure_effect
from cign.updating.learned_clips import ClipsToForget, check_encoders, check_recorded, look_up
from cign.updating.merging import sums_of
from cign.updating.new_clips import GivenClips, Source, num_clips, opened, unprepared
from cign.updating.settings_text import differing
from cign.utils.devices import device_of
from cign.utils.wording import listed
from cign.vocabulary import EVALUATION_BATCH


@dataclass(frozen=True, kw_only=True)
class Forgotten:
    """What was forgotten.

    Attributes:
        clips: Number of forgotten clips by class; a clip with several labels counts for each.
        num_clips: Number of clips subtracted from the sums.
        num_background: How many of them had none of the classes.
        num_validation: Number of stored validation clips that were removed.
        removed: Classes without any clip left, which were removed.
        num_left_out: Number of given clips that the model had not learned.
        changed: Settings that were selected differently without the clips, in one line.
        effect: Accuracy on the validation clips left; None without any.
        notes: What is not exact; one sentence each.
        seconds: Duration in seconds, including decoding and encoding.
    """

    clips: dict[str, int]
    num_clips: int
    num_background: int
    num_validation: int
    removed: tuple[str, ...]
    num_left_out: int
    changed: str
    effect: Effect | None
    notes: tuple[str, ...]
    seconds: float = 0.0


def forget_source(
    model: Model,
    source: Source,
    backbone: Callable[[], Backbone | None],
    *,
    class_name: str | None = None,
    only_learned: bool = False,
    reset_selection: bool = False,
    **how: Any,
) -> tuple[Model, Forgotten]:
    """Forget the clips of a source.

    Args:
        model: A model of a closed-form method.
        source: See `cign.updating.new_clips.opened`. Clips are recognised by their decoded content,
            whatever their names; labels and splits have no effect.
        backbone: See `cign.updating.adding.add_source`.
        class_name: Forget only the clips that were learned as this class.
        only_learned: Leave out clips that the model did not learn, instead of refusing them.
        reset_selection: See `cign.methods.forgetting.forget_clips`.
        how: Options of `cign.updating.new_clips.opened`.

    Returns:
        The new model, and what was forgotten.

    Raises:
        InputError: If a clip was never learned or is forgotten already, the clips trained the
            encoders, or no class would be left.
        RunError: If the ridge solution is singular.
    """
    began = time.monotonic()
    check_updatable(model)
    check_recorded(model)
    name = None if class_name is None else known_name(model, class_name)
    path = unprepared(source)
    encoders = None if path is None else encoders_for(model, path, how.get("format"), backbone)
    with (
        TemporaryDirectory(prefix="cign-forget-") as folder,
        opened(source, encoders, **how) as (store, _, notes),
    ):
        clips = GivenClips.of(model, store, Path(folder), how.get("progress"))
        check_encoders(model, clips)
        chosen = look_up(model, clips, name, only_learned=only_learned)
        changed, forgotten = forget_recorded(
            model, chosen, clips.tokens, reset_selection=reset_selection
        )
    forgotten = replace(forgotten, notes=(*notes, *forgotten.notes))
    return changed, replace(forgotten, seconds=time.monotonic() - began)


def forget_recorded(
    model: Model, chosen: ClipsToForget, tokens: ArraySource, *, reset_selection: bool = False
) -> tuple[Model, Forgotten]:
    """Subtract recorded clips, remove classes without clips, and solve again.

    Args:
        model: A model of a closed-form method.
        chosen: What to forget.
        tokens: Reads the tokens of the clips.
        reset_selection: See `cign.methods.forgetting.forget_clips`.

    Returns:
        The new model, and what was forgotten.

    Raises:
        InputError: If no class would be left.
        RunError: If the ridge solution is singular.
    """
    method = copy.deepcopy(model.method)
    changed = replace(model, method=method)
    before, sums, solving = sums_of(model), sums_of(changed), updatable(method)
    assert solving is not None
    shares = sums.records.shares(chosen.rows, len(model.classes))
    counts = Counter(model.classes[c] for c in shares.nonzero()[:, 1].tolist())
    weights, background = (
        x[chosen.rows].cpu() for x in (sums.records.weights, sums.records.background)
    )
    if len(chosen.rows):
        forget_clips(
            sums,
            _batches(tokens, chosen.indices, (shares, weights, background), device_of(method)),
            chosen.rows.tolist(),
            time_s=int(time.time()),
            reset_selection=reset_selection,
        )
    removed = tuple(
        name
        for name, left in zip(model.classes, sums.class_clips.tolist(), strict=True)
        if left == 0 and counts[name]
    )
    if len(removed) == len(model.classes):
        raise InputError(
            "unsupported", "no clip of any class would be left: delete the model instead"
        )
    for name in removed:
        classes = [one for one in model.classes if one not in removed[: removed.index(name)]]
        solving.remove_class(classes.index(name))
    solving.solve()
    changed = _without(changed, chosen.validation, removed)
    num_background = int(background.sum())
    kinds = [*counts, "background"] if num_background else counts
    text = f"forgot {num_clips(len(chosen.rows))}" if len(chosen.rows) else ""
    if text:  # clips of classes that were removed have no label any more
        text += f" of {listed(kinds, 5)}" if kinds else " of removed classes"
    if len(chosen.validation):
        text += f"{', ' if text else 'forgot '}{num_clips(len(chosen.validation))} for validation"
    if removed:
        text += f", removed {listed(removed, 5)}"
    return with_change(changed, text), Forgotten(
        clips=dict(counts),
        num_clips=len(chosen.rows),
        num_background=num_background,
        num_validation=len(chosen.validation),
        removed=removed,
        num_left_out=chosen.num_left_out,
        changed=differing([before, sums], " -> ") if selection_in_words(method) else "",
        effect=_effect(model, changed),
        notes=_notes(model, chosen, reset_selection=reset_selection),
    )


def _batches(
    tokens: ArraySource,
    indices: IntArray,
    recorded: tuple[Tensor, Tensor, Tensor],
    device: torch.device,
) -> Iterator[Batch]:
    """The clips to forget, with their recorded shares of labels, weights and background."""
    shares, weights, background = (values.to(device) for values in recorded)
    certain = torch.equal(shares, (shares > 0).to(shares))
    for rows in cut(np.arange(len(indices)), EVALUATION_BATCH):
        audio, visual = tokens.read(indices[rows])
        yield Batch(
            audio=audio.to(device),
            visual=visual.to(device),
            targets=shares[rows] > 0,
            from_memory=torch.ones(len(rows), dtype=torch.bool, device=device),
            indices=indices[rows],
            weights=weights[rows] if bool((weights != 1).any()) else None,
            shares=None if certain else shares[rows],
            background=background[rows] if bool(background.any()) else None,
        )


def _without(model: Model, validation: IntArray, removed: Sequence[str]) -> Model:
    """The model without some validation clips and classes."""
    kept = model.kept
    if kept is not None and len(validation):
        kept = kept.without_rows(validation.tolist())
    for name in removed:
        kept = None if kept is None else kept.without(name)
    groups = tuple(tuple(n for n in group if n not in removed) for group in model.groups)
    unknown = rule_after_removal(model, model.method, kept)
    return replace(model, groups=groups, kept=kept, unknown=unknown)


def _effect(before: Model, after: Model) -> Effect | None:
    """Accuracy on the validation clips that are left."""
    if after.kept is None:
        return None
    return measure_effect(
        (before.method, before.classes), (after.method, after.classes), after.kept
    )


def _notes(model: Model, chosen: ClipsToForget, *, reset_selection: bool) -> tuple[str, ...]:
    """What is left of the clips."""
    notes = []
    if model.estimates:
        notes.append("leave-one-out accuracies at arrival are as before")
    if len(chosen.rows) and not reset_selection and sums_of(model).options.settings.size > 1:
        notes.append(
            "the clips had a part in the solutions by which others were scored, and may so have "
            "influenced the selected settings: --reset-selection drops these scores"
        )
    return tuple(notes)
