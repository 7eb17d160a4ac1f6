"""The table of clips: which files there are, what they show and which split they belong to.

A table says nothing about whether the files exist or decode; that is found out when they are
prepared or inspected, and reported then.
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
from typing import NamedTuple

from cign.errors import InputError, one_of
from cign.vocabulary import SPLITS

# What `clip_id` puts behind a file's name; a file may have an "@" in its own.
_PART = re.compile(r"@([\d.e+-]*\d)?-([\d.e+-]*\d)?$")


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One clip: a media file or a part of one, with its labels.

    Attributes:
        id: Relative path with forward slashes, and ``@start-end`` where a part is given.
        path: Absolute path of the media file.
        labels: One class name or several, in the order given.
        split: One of `SPLITS`; ``unknown`` holds clips of classes that are never taught.
        start_s: Where the clip begins in the file, in seconds; the file's start if absent.
        end_s: Where the clip ends in the file, in seconds; the file's end if absent.
        source: The recording that the clip was cut from; the relative path if empty.
        boxes: x0, y0, x1, y1 in 0..1 of each label's object at the middle of the clip; all
            objects of a clip's only label.
        sounds: Start and end in seconds of each label's sound.
        audio_present: Whether the labels can be heard, where that is known.
        visual_present: Whether the labels can be seen, where that is known.
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

    def __post_init__(self) -> None:
        if not self.source:
            object.__setattr__(self, "source", _PART.sub("", self.id))


class Ignored(NamedTuple):
    """Something in a source that is no clip.

    Attributes:
        path: As ids of clips are written.
        reason: Why it was ignored, in a few words that follow "1 file".
    """

    path: str
    reason: str


@dataclass(frozen=True)
class ClipTable:
    """Clips and the classes that are to be taught, in their own order.

    Attributes:
        clips: The clips in the order of the source.
        class_names: Order 0 of the classes. Those of split ``unknown`` alone are not in it.
        notes: What was ignored while reading, one sentence each.
        ignored: Each of the files and folders that were ignored.
    """

    clips: tuple[Clip, ...]
    class_names: tuple[str, ...]
    notes: tuple[str, ...] = field(default=(), compare=False)
    ignored: tuple[Ignored, ...] = field(default=(), compare=False)

    @cached_property
    def list_hash(self) -> str:
        """SHA-256 over ids, labels and splits; the order of the clips does not matter."""
        return hash_lines([clip.id, sorted(clip.labels), clip.split] for clip in self.clips)

    def counts(self) -> dict[str, dict[str, int]]:
        """Number of clips per split and class; a clip counts once for each of its labels."""
        counts = {split: Counter[str]() for split in SPLITS}
        for clip in self.clips:
            counts[clip.split].update(clip.labels)
        return {split: dict(counts[split]) for split in SPLITS if counts[split]}


def hash_lines(values: Iterable[object]) -> str:
    """Hash JSON values as a set of lines, so that their order does not matter."""
    digest = hashlib.sha256()
    encode = json.JSONEncoder(ensure_ascii=True, sort_keys=True).encode
    for line in sorted(map(encode, values)):
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()


def clip_id(relative: str, start_s: float | None, end_s: float | None) -> str:
    """Name a clip by its file and, where a part is given, ``@start-end`` in seconds."""
    if start_s is None and end_s is None:
        return relative
    return f"{relative}@{_seconds(start_s)}-{_seconds(end_s)}"


def _seconds(value: float | None) -> str:
    return "" if value is None else repr(float(value)).removesuffix(".0")


def check_label(label: str, where: str) -> str:
    """Return a class name without surrounding blanks, in Unicode's normal form C.

    Some systems and archives write an accent as a character of its own; names that look the same
    are one class.

    Raises:
        InputError: If it is empty or holds a character that a line of text cannot hold.
    """
    name = unicodedata.normalize("NFC", label.strip())
    if not name or not name.isprintable() or "|" in name:
        raise InputError(
            f"{where}: class name {label!r} is empty or holds a line break, a control character "
            "or '|'; rename the class"
        )
    return name


def check_times(start_s: float | None, end_s: float | None, where: str) -> None:
    """Refuse times that are not finite, are negative or do not enclose anything.

    Raises:
        InputError: With the place and the value.
    """
    for name, value in (("start_s", start_s), ("end_s", end_s)):
        if value is not None and (not math.isfinite(value) or value < 0):
            raise InputError(f"{where}: {name} is {value}; give seconds from 0 on, or nothing")
    if end_s is not None and end_s <= (start_s or 0.0):
        raise InputError(
            f"{where}: end_s {end_s} is not after start_s {start_s or 0.0}; correct the times"
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
        clips: In the order of the source.
        alphabetical: Whether the classes are sorted by name, not by first appearance.
        what: The source, for error messages.
        notes: What the reader ignored.
        ignored: Each file or folder that it ignored.
        min_classes: Fewest classes that make sense; 1 when classes are added to a model.
        require_train: Whether every taught class needs a training clip.

    Raises:
        InputError: For no clips, contradictory rows, too few classes, classes without training
            clips, and unknown clips of classes that are taught.
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
        raise InputError(f"{what} holds no clips: check the path and the layout")
    if num_repeated:
        notes = (*notes, f"{num_repeated} rows repeat another row and were ignored")
    class_names = _class_names(rows, what, require_train)
    if len(class_names) < min_classes:
        found = f"only the class {class_names[0]!r}" if class_names else "no class to teach"
        raise InputError(f"{what} holds {found}: at least {min_classes} classes are needed")
    if alphabetical:
        class_names = tuple(sorted(class_names))
    notes = (*_alike({name for clip in rows for name in clip.labels}), *notes)
    return ClipTable(
        clips=rows, class_names=class_names, notes=tuple(notes), ignored=tuple(ignored)
    )


def check_repeated(first: Clip, second: Clip, what: str) -> None:
    """Refuse two rows of the same clip that contradict each other.

    Args:
        first: The clip as an earlier row has it.
        second: The clip as a later row has it.
        what: The source, and the rows where they are known.

    Raises:
        InputError: If splits or labels differ.
    """
    if first.split != second.split:
        raise InputError(
            f"{what} lists clip {first.id} in split {first.split!r} and in split "
            f"{second.split!r}: keep one of the rows"
        )
    if set(first.labels) != set(second.labels):
        raise InputError(
            f"{what} lists clip {first.id} with labels {'|'.join(first.labels)!r} and with "
            f"{'|'.join(second.labels)!r}: join them by '|' in one row, or keep one row"
        )


def _alike(names: Iterable[str]) -> list[str]:
    """A remark for classes whose names differ in capitals, blanks, hyphens or underscores alone."""
    spellings: dict[str, list[str]] = {}
    for name in sorted(names):
        spellings.setdefault(re.sub(r"[\s_-]+", " ", name.casefold()), []).append(name)
    return [
        f"warning: {' and '.join(map(repr, same))} are {len(same)} classes: give them one name if "
        "they are the same"
        for same in spellings.values()
        if len(same) > 1
    ]


def _class_names(rows: Sequence[Clip], what: str, require_train: bool) -> tuple[str, ...]:
    taught = dict.fromkeys(name for c in rows if c.split != "unknown" for name in c.labels)
    trained = {name for c in rows if c.split == "train" for name in c.labels}
    for clip in rows:
        both = [name for name in clip.labels if name in taught]
        if clip.split == "unknown" and both:
            raise InputError(
                f"{what}: clip {clip.id} is in split 'unknown' but its class {both[0]!r} is "
                "taught: put it into test, or take the class's other clips out"
            )
    lost = [name for name in taught if name not in trained]
    if require_train and lost:
        raise InputError(
            f"{what}: class {lost[0]!r} has no training clip"
            + (f" (nor have {len(lost) - 1} other classes)" if len(lost) > 1 else "")
            + ": add one, or put its clips into split 'unknown'"
        )
    return tuple(taught)
