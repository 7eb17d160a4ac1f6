"""The table of clips: their files, labels and splits.

A table does not state whether the files exist or can be decoded; that is checked and reported when
they are prepared or inspected.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from cign.data.label_shares import check_shares
from cign.data.similar_names import alike
from cign.errors import InputError, one_of
from cign.vocabulary import SPLITS

# The suffix that `clip_id` appends to a file's name; the name itself may contain "@".
_PART = re.compile(r"@([\d.e+-]*\d)?-([\d.e+-]*\d)?$")


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One clip: a media file or a part of one, with its labels.

    Attributes:
        id: Relative path with forward slashes, followed by ``@start-end`` for a part of a file.
        path: Absolute path of the media file; of the source for clips given as features.
        labels: One or several class names, in the given order; none for background, a clip with
            none of the classes.
        split: One of `SPLITS`; ``unknown`` is for clips of classes that are never learned.
        start_s: Start of the clip in the file, in seconds; the file's start if absent.
        end_s: End of the clip in the file, in seconds; the file's end if absent.
        source: The recording that the clip was cut from; the relative path if empty.
        boxes: x0, y0, x1, y1 in [0, 1] of each label's object at the middle of the clip; with a
            single label, of all its objects.
        sounds: Start and end in seconds of each label's sound.
        audio_present: Whether the labels are audible, if known.
        visual_present: Whether the labels are visible, if known.
        weight: Weight of the clip in training, above 0 and at most 1.
        shares: Share of each label, above 0 and at most 1; empty if all labels are certain.
    """

    id: str
    path: Path
    labels: tuple[str, ...]
    split: str
    start_s: float | None = None
    end_s: float | None = None
    source: str = ""
    boxes: tuple[tuple[float, float, float, float], ...] = ()
    sounds: tuple[tuple[float, float], ...] = ()
    audio_present: bool | None = None
    visual_present: bool | None = None
    weight: float = 1.0
    shares: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not self.source:
            object.__setattr__(self, "source", _PART.sub("", self.id))
        if all(share == 1.0 for share in self.shares):
            object.__setattr__(self, "shares", ())

    @property
    def is_background(self) -> bool:
        """Whether the clip has none of the classes."""
        return not self.labels

    @property
    def likely_labels(self) -> tuple[str, ...]:
        """The labels that a prediction is compared with: the certain ones, or the most likely one.

        Certain are those with a share of 1; of equal shares the first counts.
        """
        if not self.shares:
            return self.labels
        most = max(self.shares)
        found = [name for name, s in zip(self.labels, self.shares, strict=True) if s == most]
        return tuple(found) if most == 1.0 else (found[0],)

    @property
    def uncertainty(self) -> dict[str, Any]:
        """Weight and shares, by name, if they are not those of a usual clip."""
        weight: dict[str, Any] = {} if self.weight == 1.0 else {"weight": self.weight}
        shares = sorted(zip(self.labels, self.shares, strict=False))
        return weight | ({"shares": shares} if shares else {})


class Ignored(NamedTuple):
    """A file or folder of a source that is not a clip.

    Attributes:
        path: Its path, written like the ids of clips.
        reason: Short reason for ignoring it.
    """

    path: str
    reason: str


@dataclass(frozen=True)
class ClipTable:
    """Clips, and the classes to be learned in class order 0.

    Attributes:
        clips: The clips in the order of the source.
        class_names: The classes, in class order 0, without classes that occur only in split
            ``unknown``.
        notes: Notes on entries that were ignored while reading, one sentence each.
        ignored: The files and folders that were ignored.
    """

    clips: tuple[Clip, ...]
    class_names: tuple[str, ...]
    notes: tuple[str, ...] = field(default=(), compare=False)
    ignored: tuple[Ignored, ...] = field(default=(), compare=False)

    @cached_property
    def list_hash(self) -> str:
        """SHA-256 of ids, labels and splits, independent of the order of the clips.

        Weights and shares are part of it where they are not 1.
        """
        return hash_lines(
            [clip.id, sorted(clip.labels), clip.split, *filter(None, [clip.uncertainty])]
            for clip in self.clips
        )

    @property
    def num_background(self) -> int:
        """Number of clips with none of the classes."""
        return sum(clip.is_background for clip in self.clips)

    def counts(self) -> dict[str, dict[str, int]]:
        """Count the clips per split and class; a clip counts once for each of its labels."""
        counts = {split: Counter[str]() for split in SPLITS}
        for clip in self.clips:
            counts[clip.split].update(clip.labels)
        return {split: dict(counts[split]) for split in SPLITS if counts[split]}


def hash_lines(values: Iterable[object]) -> str:
    """Hash JSON values as a set of lines, independent of their order."""
    digest = hashlib.sha256()
    encode = json.JSONEncoder(ensure_ascii=True, sort_keys=True).encode
    for line in sorted(map(encode, values)):
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()


def clip_id(relative: str, start_s: float | None, end_s: float | None) -> str:
    """Return the id of a clip: its file and, for a part of a file, ``@start-end`` in seconds."""
    if start_s is None and end_s is None:
        return relative
    return f"{relative}@{_seconds(start_s)}-{_seconds(end_s)}"


def _seconds(value: float | None) -> str:
    return "" if value is None else repr(float(value)).removesuffix(".0")


def check_label(label: str, where: str) -> str:
    """Return a class name without surrounding blanks, in Unicode normalisation form C.

    Some systems and archives write an accent as a separate character; names that look the same
    are the same class.

    Raises:
        InputError: If it is empty or contains '|' or a character that is not printable.
    """
    name = unicodedata.normalize("NFC", label.strip())
    if not name or not name.isprintable() or "|" in name:
        raise InputError(
            "bad-list",
            f"{where}: class name {label!r} is empty or contains a line break, a control "
            "character or '|'; rename the class",
        )
    return name


def check_times(start_s: float | None, end_s: float | None, where: str) -> None:
    """Check that times are finite, are not negative and form a non-empty interval.

    Raises:
        InputError: If they do not; the message names the location and the value.
    """
    for name, value in (("start_s", start_s), ("end_s", end_s)):
        if value is not None and (not math.isfinite(value) or value < 0):
            raise InputError(
                "bad-list", f"{where}: {name} is {value}; give seconds >= 0, or leave it empty"
            )
    if end_s is not None and end_s <= (start_s or 0.0):
        raise InputError(
            "bad-list",
            f"{where}: end_s {end_s} is not after start_s {start_s or 0.0}; correct the times",
        )


def make_table(
    clips: Iterable[Clip],
    *,
    alphabetical: bool,
    what: str,
    notes: Sequence[str] = (),
    ignored: Sequence[Ignored] = (),
    min_classes: int = 2,
    require_train: bool = True,
) -> ClipTable:
    """Check a list of clips as a whole and find its classes.

    Args:
        clips: The clips in the order of the source.
        alphabetical: Whether the classes are sorted by name, not by first appearance.
        what: The source, for error messages.
        notes: Notes of the reader on ignored entries.
        ignored: Files and folders that the reader ignored.
        min_classes: Minimum number of classes; 1 when classes are added to a model.
        require_train: Whether every class to be learned needs a training clip.

    Raises:
        InputError: If there are no clips, contradictory rows, too few classes, classes without
            training clips, or unknown clips of classes to be learned.
    """
    unique: dict[str, Clip] = {}
    num_repeated = 0
    for clip in clips:
        if clip.split not in SPLITS:
            raise one_of(clip.split, SPLITS, f"split of clip {clip.id} in {what}")
        first = unique.setdefault(clip.id, clip)
        if first is clip:
            continue
        num_repeated += 1
        check_repeated(first, clip, what)
    rows = tuple(unique.values())
    if not rows:
        raise InputError("no-clips", f"{what} contains no clips: check the path and the layout")
    if num_repeated:
        notes = (*notes, f"{num_repeated} rows repeat another row and were ignored")
    check_shares(rows, what)
    num_background = sum(clip.is_background for clip in rows)
    if num_background:
        notes = (*notes, f"{num_background} clips are background, with none of the classes")
    class_names = _class_names(rows, what, require_train)
    if len(class_names) < min_classes and not (min_classes == 1 and num_background):
        found = f"only the class {class_names[0]!r}" if class_names else "no class to learn"
        raise InputError(
            "bad-list", f"{what} contains {found}: at least {min_classes} classes are needed"
        )
    if alphabetical:
        class_names = tuple(sorted(class_names))
    notes = (*alike({name for clip in rows for name in clip.labels}), *notes)
    return ClipTable(
        clips=rows, class_names=class_names, notes=tuple(notes), ignored=tuple(ignored)
    )


def check_repeated(first: Clip, second: Clip, what: str) -> None:
    """Check that two rows of the same clip do not contradict each other.

    Args:
        first: The clip of the earlier row.
        second: The clip of the later row.
        what: The source, and the rows if they are known.

    Raises:
        InputError: If splits or labels differ.
    """
    if first.split != second.split:
        raise InputError(
            "bad-list",
            f"{what} lists clip {first.id} in split {first.split!r} and in split "
            f"{second.split!r}: remove one of the rows",
        )
    if set(first.labels) != set(second.labels):
        raise InputError(
            "bad-list",
            f"{what} lists clip {first.id} with labels {'|'.join(first.labels)!r} and with "
            f"{'|'.join(second.labels)!r}: join them by '|' in one row, or remove one of the rows",
        )
    if first.uncertainty != second.uncertainty:
        raise InputError(
            "bad-list",
            f"{what} lists clip {first.id} with different weights or shares of labels: remove one "
            "of the rows",
        )


def _class_names(rows: Sequence[Clip], what: str, require_train: bool) -> tuple[str, ...]:
    learned = dict.fromkeys(name for c in rows if c.split != "unknown" for name in c.labels)
    trained = {name for c in rows if c.split == "train" for name in c.labels}
    for clip in rows:
        both = [name for name in clip.labels if name in learned]
        if clip.split == "unknown" and both:
            raise InputError(
                "bad-list",
                f"{what}: clip {clip.id} is in split 'unknown', but its class {both[0]!r} has "
                "clips in other splits: move it to test, or remove the class's other clips",
            )
    missing = [name for name in learned if name not in trained]
    if require_train and missing:
        raise InputError(
            "no-clips",
            f"{what}: class {missing[0]!r} has no training clip"
            + (f" (nor have {len(missing) - 1} other classes)" if len(missing) > 1 else "")
            + ": add one, or move its clips to split 'unknown'",
        )
    return tuple(learned)
