"""Clips that several models have learned, which count several times when these are merged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from cign.backbones.base import Backbone
from cign.data.tasks import IntArray
from cign.errors import InputError
from cign.saved_model.model import Model
from cign.updating.edits import encoders_for
from cign.updating.forgetting import forget_recorded
from cign.updating.learned_clips import ClipsToForget, check_recorded, positions_of
from cign.updating.merging import check_mergeable, sums_of
from cign.updating.new_clips import GivenClips, Source, num_clips, opened, unprepared


def rows_in_earlier(models: Sequence[Model]) -> list[IntArray]:
    """For each model the records of clips that an earlier one has learned, too."""
    found: list[IntArray] = []
    for number, model in enumerate(models):
        earlier = [sums_of(one).records.hashes.cpu().numpy() for one in models[:number]]
        records = sums_of(model).records
        hashes = np.concatenate(earlier) if earlier else np.zeros((0, 32), np.uint8)
        found.append(records.rows_of(hashes))
    return found


def without_duplicates(
    models: Sequence[Model], source: Source, backbone: Callable[[], Backbone | None], **how: Any
) -> tuple[list[Model], int]:
    """Let later models forget the clips that an earlier one has learned, too.

    Args:
        models: The models to merge.
        source: The clips that several models have learned, or more; see
            `cign.updating.new_clips.opened`.
        backbone: Returns the backbone of the first model, None if the model contains its encoders.
        how: Options of `cign.updating.new_clips.opened`.

    Returns:
        The models, none of which has a clip of an earlier one, and how many clips were forgotten.

    Raises:
        InputError: If the models cannot be merged, some of these clips are not in ``source``, or a
            model has no others.
        RunError: If a ridge solution is singular.
    """
    letters = check_mergeable(models)
    for model in models:
        check_recorded(model)
    rows = rows_in_earlier(models)
    if not any(map(len, rows)):
        return list(models), 0
    path = unprepared(source)
    encoders = None if path is None else encoders_for(models[0], path, how.get("format"), backbone)
    with (
        TemporaryDirectory(prefix="cign-merge-") as folder,
        opened(source, encoders, **how) as (store, _, _),
    ):
        clips = GivenClips.of(models[0], store, Path(folder), how.get("progress"))
        changed = [
            _without(model, clips, some, letter)
            for model, some, letter in zip(models, rows, letters, strict=True)
        ]
    return changed, sum(map(len, rows))


def _without(model: Model, clips: GivenClips, rows: IntArray, letter: str) -> Model:
    """A model without some of its clips."""
    if len(rows) == 0:
        return model
    records = sums_of(model).records
    if len(rows) == len(records):
        raise InputError(
            "no-clips", f"model {letter} has learned no clip that the others lack: leave it out"
        )
    # Those that trained the encoders may go: an earlier model of these encoders has learned them.
    indices = positions_of(records, rows, clips.hashes, clips.distinct)
    num_missing = int((indices < 0).sum())
    if num_missing:
        raise InputError(
            "no-clips",
            f"{num_clips(num_missing)} that model {letter} and an earlier one have learned are "
            "not among the given clips: give all clips that both have learned",
        )
    return forget_recorded(model, ClipsToForget(rows=rows, indices=indices), clips.tokens)[0]
