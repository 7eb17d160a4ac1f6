"""New classes of an addition, and checks of names and clips, before or after decoding."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from cign.data.clips import Clip
from cign.data.formats import read_source
from cign.data.label_shares import sum_of_shares
from cign.data.tasks import IntArray
from cign.errors import InputError
from cign.runs.unusual_clips import check_weights
from cign.saved_model.model import Model
from cign.updating.new_clips import num_clips
from cign.updating.stated_splits import without_splits

MAX_NAME_CHARACTERS = 100


class Clips(Protocol):
    """New clips for a model, listed or decoded."""

    @property
    def clips(self) -> Sequence[Clip]:
        """All clips."""

    @property
    def order(self) -> tuple[str, ...]:
        """The class order of the source."""

    @property
    def learned(self) -> IntArray:
        """Indices of the training clips."""

    @property
    def validation(self) -> IntArray:
        """Indices of the clips that measure the new classes."""


def check_name(name: str) -> str:
    """Check a class name for use in files, tables and pages; return it in Unicode form NFC.

    Raises:
        InputError: If it is empty, too long, or has a slash, a line break or a control character.
    """
    name = unicodedata.normalize("NFC", name)
    shown = repr(name if len(name) <= MAX_NAME_CHARACTERS else name[:20] + "...")
    if len(name) > MAX_NAME_CHARACTERS:
        problem = f"has {len(name)} characters"
    elif not name.strip() or name != name.strip() or name in (".", ".."):
        problem = "is empty, a dot, or starts or ends with a blank"
    elif not name.isprintable() or any(mark in name for mark in "/\\|"):
        problem = "contains a slash, '|', a line break or a control character"
    else:
        return name
    raise InputError(
        "bad-value",
        f"class name {shown} {problem}: use 1 to {MAX_NAME_CHARACTERS} printable characters "
        "without / \\ and |",
    )


def new_classes(model: Model, clips: Clips) -> tuple[str, ...]:
    """The classes of the clips that the model does not know.

    Raises:
        InputError: If a name is invalid, a class has no training clip, or a clip has several labels
            and the model was trained on clips with one label each.
    """
    used = np.concatenate([clips.learned, clips.validation])
    learned = Counter(name for i in clips.learned for name in clips.clips[i].labels)
    carried = {name for i in used for name in clips.clips[i].labels}
    new = tuple(n for n in clips.order if n in carried and n not in model.classes)
    for name in new:
        check_name(name)
        if not learned[name]:
            raise InputError(
                "no-clips",
                f"class {name!r} has no training clip with audio and video that can be decoded: "
                "add one, or remove the class",
            )
    several = [clip for clip in (clips.clips[i] for i in used) if sum_of_shares(clip) > 1]
    if several and not model.method.setup.multi_label:
        raise InputError(
            "unsupported",
            f"clip {several[0].id} has several labels "
            f"({'|'.join(several[0].labels)}), but this model was trained on clips with "
            "one label each: give each clip one label, or shares that sum to at most 1",
        )
    return new


@dataclass(frozen=True, kw_only=True)
class _Listed:
    """See `Clips`."""

    clips: Sequence[Clip]
    order: tuple[str, ...]
    learned: IntArray
    validation: IntArray


def check_listed(
    model: Model, source: Path, *, format: str | None = None, media: Sequence[Path] = ()
) -> None:
    """Check the list of new clips before any clip is decoded.

    Args:
        model: The model to which the clips are added.
        source: A folder of class folders, or a table.
        format: See `cign.data.formats.read_source`.
        media: See `cign.data.formats.read_source`.

    Raises:
        InputError: See `new_classes`, or if there is no training clip.
    """
    needed: dict[str, Any] = {"min_classes": 1, "require_train": False}
    table = read_source(source, format=format, media=media, **needed)
    check_weights(type(model.method), table.clips, f"source {source}")
    splits = np.array([clip.split for clip in table.clips])
    learned, validation = np.flatnonzero(splits == "train"), np.flatnonzero(splits == "val")
    if without_splits(
        source, table.clips, format
    ):  # all are training clips, except a few that are stored
        learned, validation = np.arange(len(splits)), validation[:0]
    if len(learned) == 0:
        raise InputError(
            "no-clips",
            f"none of {num_clips(len(splits))} can be used for training, none is in split train: "
            "give clips in class folders or in split train",
        )
    new_classes(
        model,
        _Listed(
            clips=table.clips,
            order=table.class_names,
            learned=learned,
            validation=validation,
        ),
    )
