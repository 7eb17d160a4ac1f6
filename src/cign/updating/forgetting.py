"""Forget clips: a model's sums without them, as if it had never learned them. All of it is ours."""

from __future__ import annotations

import copy
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from cign.backbones.base import Backbone
from cign.data.batches import ArraySource, cut
from cign.data.intact import check_media
from cign.data.store import Store
from cign.data.tasks import IntArray
from cign.errors import InputError
from cign.inference.sources import model_source
from cign.methods.base import Batch
from cign.methods.capabilities import selection_in_words, updatable
from cign.methods.clip_records import ClipRecords
from cign.methods.forgetting import forget_clips
from cign.open_set.evidence import EvidenceReader
from cign.open_set.rule import UnknownRule, fit_rule
from cign.saved_model.model import Model
from cign.training.encoding import encode_clips
from cign.updating.edits import check_updatable, encoders_for, known_name, with_change
from cign.updating.impact import Effect, measure_effect
from cign.updating.merging import sums_of
from cign.updating.new_clips import Source, num_clips, opened, unprepared
from cign.updating.settings_text import differing
from cign.utils.devices import device_of
from cign.utils.progress import Progress
from cign.utils.wording import listed
from cign.vocabulary import EVALUATION_BATCH


@dataclass(frozen=True, kw_only=True)
class Forgotten:
    """What was forgotten.

    Attributes:
        clips: Number of forgotten clips by class; a clip with several labels counts for each.
        num_clips: Number of clips subtracted from the sums.
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
        backbone: See `cign.updating.edits.add_source`.
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
    _check_recorded(model)
    name = None if class_name is None else known_name(model, class_name)
    path = unprepared(source)
    encoders = None if path is None else encoders_for(model, path, how.get("format"), backbone)
    with (
        TemporaryDirectory(prefix="cign-forget-") as folder,
        opened(source, encoders, **how) as (store, _, notes),
    ):
        chosen, tokens = _choose(
            model,
            store,
            Path(folder),
            name,
            only_learned=only_learned,
            progress=how.get("progress"),
        )
        changed, forgotten = forget_recorded(model, chosen, tokens, reset_selection=reset_selection)
    forgotten = replace(forgotten, notes=(*notes, *forgotten.notes))
    return changed, replace(forgotten, seconds=time.monotonic() - began)


def _check_recorded(model: Model) -> None:
    """Refuse a model that does not record all its clips.

    Raises:
        InputError: If it does not.
    """
    sums = sums_of(model)
    counts = sums.records.class_clips(len(model.classes))
    if not torch.equal(counts, sums.class_clips.to(counts)):
        raise InputError(
            "unsupported",
            "this model does not record all its clips, so that they cannot be recognised: train "
            "it again on a prepared store",
        )


@dataclass(frozen=True, kw_only=True)
class ClipsToForget:
    """What to forget.

    Attributes:
        rows: Records of the clips.
        indices: Where the tokens of each of them are, in the store.
        validation: Validation clips to remove.
        num_left_out: Number of clips that are not learned.
    """

    rows: IntArray
    indices: IntArray
    validation: IntArray
    num_left_out: int


def _choose(
    model: Model,
    store: Store,
    folder: Path,
    name: str | None,
    *,
    only_learned: bool,
    progress: Progress | None,
) -> tuple[ClipsToForget, ArraySource]:
    """Look up the clips of a store in the records, and read their tokens.

    Raises:
        InputError: See `forget_source`.
    """
    records, hashes = sums_of(model).records, store.content_hashes
    first: dict[bytes, int] = {}
    for index in range(len(hashes)):
        first.setdefault(hashes[index].tobytes(), index)
    rows, recorded = records.rows_of(hashes), records.hashes.cpu().numpy()
    known = {recorded[row].tobytes() for row in rows}
    others = [index for content, index in first.items() if content not in known]
    if model.regime != "frozen" and bool((records.arrivals[rows] == 0).any()):
        raise InputError(
            "unsupported",
            "clips of the first task trained the encoders of this model and cannot be forgotten: "
            "train it again without them",
        )
    tokens = _tokens(model, store, np.array(sorted(first.values())), folder, progress)
    validation = {index: _validation_rows(model, tokens, index) for index in others}
    others = [index for index in others if not validation[index]]
    removed = {row for some in validation.values() for row in some}
    if name is not None:
        column = model.classes.index(name)
        rows = rows[records.targets(rows, len(model.classes))[:, column].numpy()]
        removed = {r for r in removed if model.kept is not None and name in model.kept.labels[r]}
    if others and not (only_learned or name):
        raise _never_learned(records, store, others)
    if len(rows) == 0 and not removed:
        if name is None or not known:
            raise _never_learned(records, store, others)
        raise InputError(
            "no-clips",
            f"none of {num_clips(len(hashes))} was learned as class {name!r}: give clips of it",
        )
    chosen = ClipsToForget(
        rows=rows,
        indices=np.array([first[recorded[row].tobytes()] for row in rows], dtype=np.int64),
        validation=np.array(sorted(removed), dtype=np.int64),
        num_left_out=len(others),
    )
    return chosen, tokens


def _never_learned(records: ClipRecords, store: Store, others: Sequence[int]) -> InputError:
    """The error for clips that are not in the sums."""
    example = store.table.clips[others[0]].id
    gone = records.rows_of(store.content_hashes[[others[0]]], forgotten=True)
    if len(gone):
        when = datetime.fromtimestamp(int(records.forgotten_at[gone[0]]), UTC)
        why = f"was forgotten on {when:%Y-%m-%d}"
    else:
        why = "was never learned by this model"
    return InputError(
        "no-clips",
        f"{num_clips(len(others))} of the source cannot be forgotten, for example {example}, which "
        f"{why}: leave such clips out, or use --only-learned",
    )


def _validation_rows(model: Model, tokens: ArraySource, index: int) -> list[int]:
    """Where a clip is among the stored validation clips."""
    if model.kept is None:
        return []
    at = np.array([index])
    return model.kept.rows_of(tokens.audio(at)[0], tokens.visual(at)[0])


def _tokens(
    model: Model, store: Store, indices: IntArray, folder: Path, progress: Progress | None
) -> ArraySource:
    """What the method takes of the clips."""
    source = model_source(model, store)
    if model.regime == "frozen":
        return source
    check_media(store)
    return encode_clips(model.method, source, indices, folder, progress)


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
    targets = sums.records.targets(chosen.rows, len(model.classes))
    counts = Counter(model.classes[c] for c in targets.nonzero()[:, 1].tolist())
    if len(chosen.rows):
        forget_clips(
            sums,
            _batches(tokens, chosen.indices, targets, device_of(method)),
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
    text = f"forgot {num_clips(len(chosen.rows))} of {listed(counts, 5)}" if counts else ""
    if len(chosen.validation):
        text += f"{', ' if text else 'forgot '}{num_clips(len(chosen.validation))} for validation"
    if removed:
        text += f", removed {listed(removed, 5)}"
    return with_change(changed, text), Forgotten(
        clips=dict(counts),
        num_clips=len(chosen.rows),
        num_validation=len(chosen.validation),
        removed=removed,
        num_left_out=chosen.num_left_out,
        changed=differing([before, sums], " -> ") if selection_in_words(method) else "",
        effect=_effect(model, changed),
        notes=_notes(model, chosen, reset_selection=reset_selection),
    )


def _batches(
    tokens: ArraySource, indices: IntArray, targets: torch.Tensor, device: torch.device
) -> Iterator[Batch]:
    """The clips to forget, with their recorded labels."""
    for rows in cut(np.arange(len(indices)), EVALUATION_BATCH):
        audio, visual = tokens.read(indices[rows])
        yield Batch(
            audio=audio.to(device),
            visual=visual.to(device),
            targets=targets[rows].to(device),
            from_memory=torch.ones(len(rows), dtype=torch.bool, device=device),
            indices=indices[rows],
        )


def _without(model: Model, validation: IntArray, removed: Sequence[str]) -> Model:
    """The model without some validation clips and classes."""
    kept = model.kept
    if kept is not None and len(validation):
        kept = kept.without_rows(validation.tolist())
    for name in removed:
        kept = None if kept is None else kept.without(name)
    groups = tuple(tuple(n for n in group if n not in removed) for group in model.groups)
    unknown = model.unknown if model.kept is None else UnknownRule()
    if kept is not None:
        reader = EvidenceReader(model.method)
        unknown = fit_rule(reader, kept.source, np.arange(kept.num_clips))
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
