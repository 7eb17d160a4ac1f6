"""Which classes an addition brings, and whether they can be learned; before or after decoding."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from cign.data.formats import read_source
from cign.data.tasks import IntArray
from cign.errors import InputError
from cign.saved_model.model import Model
from cign.updating.new_clips import num_clips, without_splits

MAX_NAME_CHARACTERS = 100


class Clips(Protocol):
    """Clips that a model is to learn, listed or decoded."""

    @property
    def labels(self) -> Sequence[tuple[str, ...]]:
        """Class names of all clips."""

    @property
    def ids(self) -> Sequence[str]:
        """Names of all clips."""

    @property
    def order(self) -> tuple[str, ...]:
        """The source's own order of its classes."""

    @property
    def learned(self) -> IntArray:
        """Indices of those that are learned."""

    @property
    def validation(self) -> IntArray:
        """Indices of those that the new classes are measured on."""


def check_name(name: str) -> str:
    """Give a class name that files, tables and pages can carry, in Unicode's normal form C.

    Raises:
        InputError: If it is empty, too long, or holds a slash, a line break or the like.
    """
    name = unicodedata.normalize("NFC", name)
    shown = repr(name if len(name) <= MAX_NAME_CHARACTERS else name[:20] + "...")
    if len(name) > MAX_NAME_CHARACTERS:
        problem = f"has {len(name)} characters"
    elif not name.strip() or name != name.strip() or name in (".", ".."):
        problem = "is empty, a dot, or has blanks at an end"
    elif not name.isprintable() or any(mark in name for mark in "/\\|"):
        problem = "holds a slash, '|', a line break or a control character"
    else:
        return name
    raise InputError(
        f"class name {shown} {problem}: use 1 to {MAX_NAME_CHARACTERS} printable characters "
        "without / \\ and |"
    )


def new_classes(model: Model, clips: Clips) -> tuple[str, ...]:
    """The classes that a model does not know yet.

    Raises:
        InputError: If a name is not allowed, a class has no clip to learn from, or a clip has
            several labels and the model was learned on clips with one each.
    """
    used = np.concatenate([clips.learned, clips.validation])
    learned = Counter(name for i in clips.learned for name in clips.labels[i])
    carried = {name for i in used for name in clips.labels[i]}
    new = tuple(n for n in clips.order if n in carried and n not in model.classes)
    for name in new:
        check_name(name)
        if not learned[name]:
            raise InputError(
                f"class {name!r} has no clip to learn from that decodes with sound and picture: "
                "give it one, or take it out"
            )
    several = [i for i in used if len(clips.labels[i]) > 1]
    if several and not model.method.setup.multi_label:
        raise InputError(
            f"clip {clips.ids[several[0]]} has several labels "
            f"({'|'.join(clips.labels[several[0]])}), and this model was learned on clips with "
            "one each: give each clip one label"
        )
    return new


@dataclass(frozen=True, kw_only=True)
class _Listed:
    """See `Clips`."""

    labels: Sequence[tuple[str, ...]]
    ids: Sequence[str]
    order: tuple[str, ...]
    learned: IntArray
    validation: IntArray


def check_listed(
    model: Model, source: Path, *, format: str | None = None, media: Sequence[Path] = ()
) -> None:
    """Refuse clips that their list alone shows cannot be added, before any is decoded.

    Args:
        model: Whose classes they come to.
        source: A folder of class folders, or a table.
        format: See `cign.data.formats.read_source`.
        media: See `cign.data.formats.read_source`.

    Raises:
        InputError: See `new_classes`, or if no clip is there to be learned from.
    """
    needed: dict[str, Any] = {"min_classes": 1, "require_train": False}
    table = read_source(source, format=format, media=media, **needed)
    splits = np.array([clip.split for clip in table.clips])
    learned, validation = np.flatnonzero(splits == "train"), np.flatnonzero(splits == "val")
    if without_splits(source, table.clips):  # all are learned from but a few that are kept
        learned, validation = np.arange(len(splits)), validation[:0]
    if len(learned) == 0:
        raise InputError(
            f"none of {num_clips(len(splits))} can be learned from, none is of split train: give "
            "clips in class folders or in split train"
        )
    new_classes(
        model,
        _Listed(
            labels=[clip.labels for clip in table.clips],
            ids=[clip.id for clip in table.clips],
            order=table.class_names,
            learned=learned,
            validation=validation,
        ),
    )
