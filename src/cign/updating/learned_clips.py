"""Look up given clips among those that a model has learned, by their decoded content."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
import torch

from cign.data.batches import ArraySource
from cign.data.tasks import HashArray, IntArray
from cign.errors import InputError
from cign.methods.clip_records import ClipRecords
from cign.saved_model.model import Model
from cign.updating.merging import sums_of
from cign.updating.new_clips import GivenClips, num_clips


def records_all(model: Model) -> bool:
    """Whether a model records all clips in its sums."""
    sums = sums_of(model)
    counts, have = sums.records.class_clips(len(model.classes)), sums.class_clips
    same = torch.allclose(counts, have.to(counts), rtol=1e-9, atol=1e-9)
    return same and math.isclose(sums.records.num_background, sums.num_background, rel_tol=1e-9)


def check_recorded(model: Model) -> None:
    """Refuse a model that does not record all its clips.

    Raises:
        InputError: If it does not.
    """
    if not records_all(model):
        raise InputError(
            "unsupported",
            "this model does not record all its clips, so that they cannot be recognised: train "
            "it again on a prepared store",
        )


def check_encoders(model: Model, clips: GivenClips) -> None:
    """Refuse clips that trained the encoders of the model.

    Raises:
        InputError: If there are any.
    """
    records = sums_of(model).records
    rows = records.rows_of(clips.hashes)
    if model.regime != "frozen" and bool((records.arrivals[rows] == 0).any()):
        raise InputError(
            "unsupported",
            "clips of the first task trained the encoders of this model and cannot be forgotten: "
            "train it again without them",
        )


def positions_of(
    records: ClipRecords, rows: IntArray, hashes: HashArray, indices: IntArray
) -> IntArray:
    """Where the content of recorded clips is among given clips; -1 where it is not.

    Args:
        records: The records.
        rows: Some of them.
        hashes: Hashes of the given clips, shape [N, 32].
        indices: The given clips to search.
    """
    at = {hashes[index].tobytes(): int(index) for index in indices}
    recorded = records.hashes[rows].cpu().numpy()
    return np.array([at.get(content.tobytes(), -1) for content in recorded], dtype=np.int64)


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
    validation: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    num_left_out: int = 0


def look_up(
    model: Model, clips: GivenClips, name: str | None, *, only_learned: bool
) -> ClipsToForget:
    """Look up clips in the records.

    Raises:
        InputError: See `forget_source`.
    """
    records = sums_of(model).records
    first = {clips.hashes[index].tobytes(): int(index) for index in clips.distinct}
    rows, recorded = records.rows_of(clips.hashes), records.hashes.cpu().numpy()
    known = {recorded[row].tobytes() for row in rows}
    others = [index for content, index in first.items() if content not in known]
    validation = {index: _validation_rows(model, clips.tokens, index) for index in others}
    others = [index for index in others if not validation[index]]
    removed = {row for some in validation.values() for row in some}
    if name is not None:
        column = model.classes.index(name)
        rows = rows[records.shares(rows, len(model.classes))[:, column].numpy() > 0]
        removed = {r for r in removed if model.kept is not None and name in model.kept.labels[r]}
    if others and not (only_learned or name):
        raise _never_learned(records, clips, others)
    if len(rows) == 0 and not removed:
        if others and (name is None or not known):
            raise _never_learned(records, clips, others)
        raise InputError(
            "no-clips",
            f"none of {num_clips(len(first))} was learned as class {name!r}: give clips of it",
        )
    return ClipsToForget(
        rows=rows,
        indices=positions_of(records, rows, clips.hashes, clips.distinct),
        validation=np.array(sorted(removed), dtype=np.int64),
        num_left_out=len(others),
    )


def _never_learned(records: ClipRecords, clips: GivenClips, others: Sequence[int]) -> InputError:
    """The error for clips that are not in the sums."""
    example = clips.ids[others[0]]
    gone = records.rows_of(clips.hashes[[others[0]]], forgotten=True)
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
