"""Labelled clips of the page as clips to learn, and what a model records of clips it learned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from cign.app.label_pool import ClipPool
from cign.data.clips import Clip, ClipTable
from cign.errors import InputError
from cign.labelling.proposing import checked_sums
from cign.saved_model.model import Model
from cign.training.encoding import encode_clips
from cign.updating.learned_clips import check_recorded
from cign.updating.merging import sums_of
from cign.updating.new_clips import NewClips

Labels = tuple[str, ...]
"""The class names of a clip; none for background."""


def check_labelling(model: Model) -> None:
    """Refuse a model to which clips cannot be taught one by one, with one class each.

    Raises:
        InputError: If its method stores no sums, its clips may have several labels, or it does not
            record its clips.
    """
    checked_sums(model)
    if model.method.setup.multi_label:
        raise InputError(
            "unsupported",
            "clips of this model may have several labels, but the page gives each clip one: use "
            "`cign next` and `cign add`, and start the page without --clips and --learned",
        )
    check_recorded(model)


def recorded_labels(model: Model) -> dict[str, Labels]:
    """The labels with which a model learned each clip, by the key of `ClipPool`."""
    records = sums_of(model).records
    names: dict[int, Labels] = {}
    pairs = zip(records.label_clips.tolist(), records.label_classes.tolist(), strict=True)
    for row, column in pairs:
        names[row] = (*names.get(row, ()), model.classes[column])
    contents = records.hashes.cpu().numpy()
    return {content.tobytes().hex(): names.get(row, ()) for row, content in enumerate(contents)}


def clips_to_learn(
    model: Model, pool: ClipPool, labels: Mapping[str, Labels], folder: Path
) -> tuple[NewClips, list[str]]:
    """The labelled clips as training clips.

    Args:
        model: The model.
        pool: The clips.
        labels: Class names by key.
        folder: A temporary folder for tokens of the model's own encoders.

    Returns:
        The clips, and the keys of those that are left out because the model measures its accuracy
        with them.

    Raises:
        InputError: If there is no clip to learn, or a store does not suit the model.
    """
    keys = [key for key in labels if pool.is_whole(key)]
    if not keys:
        raise InputError("no-clips", "there is no new label to learn: label some clips first")
    numbers, learned = [pool.number(key) for key in keys], np.arange(len(keys))
    source = pool.source(model, numbers)
    if model.regime != "frozen":
        source = encode_clips(model.method, source, learned, folder)
    is_kept = np.zeros(len(keys), dtype=np.bool_)
    if model.kept is not None:
        for row in learned:
            at = np.array([row])
            is_kept[row] = model.kept.holds(source.audio(at)[0], source.visual(at)[0])
    if is_kept.all():
        raise InputError(
            "no-clips",
            "all labelled clips are validation clips of the model, which are never learned: label "
            "other clips",
        )
    clips = tuple(labelled(pool.clip(key), labels[key]) for key in keys)
    order = tuple(dict.fromkeys(name for clip in clips for name in clip.labels))
    none = np.zeros(0, dtype=np.int64)
    chosen = NewClips(
        clips=clips,
        hashes=pool.hashes(numbers),
        list_hash=ClipTable(clips=clips, class_names=order).list_hash,
        order=order,
        source=source,
        learned=learned[~is_kept],
        validation=none,
        kept=none,
        notes=(),
    )
    return chosen, [key for key, one in zip(keys, is_kept, strict=True) if one]


def labelled(clip: Clip, names: Labels) -> Clip:
    """A training clip with other labels, without shares and weight."""
    return replace(clip, labels=names, split="train", shares=(), weight=1.0, boxes=(), sounds=())
