"""Labels as lists write them: ``NAME``, ``NAME:SHARE``, and ``none`` for background.

A suffix is a share if it is a number above 0 and at most 1. Whole numbers other than 1 are part of
the name, as in ``scene:2``. Any name can be written: one that could be misunderstood is followed by
``:1``, as in ``none:1`` for a class called none, or ``scene:1:1``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from cign.data.clips import Clip
from cign.data.formats.labels import listed_label
from cign.errors import InputError

BACKGROUND = "_background"
"""Name of the folder of clips with none of the classes."""
NONE = "none"
"""Label of such clips in a list; that of the folder is understood, too."""
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")


def parse_labels(values: Sequence[Any], where: str) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Return class names and their shares; no name for background.

    Args:
        values: The labels as read, of any type.
        where: The location in the list, for error messages.

    Raises:
        InputError: If a name is missing or invalid, a share is out of range or without a name, a
            label occurs with two shares, or background has other labels.
    """
    if any(_stands_for_none(value) for value in values):
        if len(values) > 1:
            raise InputError(
                "bad-list",
                f"{where}: label {NONE!r} stands for none of the classes and cannot be joined with "
                f"others: remove it, or write {NONE}:1 if it is the name of a class",
            )
        return (), ()
    shares: dict[str, float] = {}
    for value in values:
        name, share = _parse(value, where)
        if shares.setdefault(name, share) != share:
            raise InputError(
                "bad-list",
                f"{where}: label {name!r} has shares {shares[name]:g} and {share:g}: give one",
            )
    return tuple(shares), tuple(shares.values())


def _stands_for_none(value: Any) -> bool:
    return isinstance(value, str) and value.strip() in (NONE, BACKGROUND)


def _parse(value: Any, where: str) -> tuple[str, float]:
    """The name and the share of a label."""
    name, share = _split(value) if isinstance(value, str) else (value, "")
    if not share:
        return listed_label(value, where), 1.0
    if not name.strip():
        raise InputError(
            "bad-list", f"{where}: share {value!r} has no label: add it before the ':'"
        )
    number = float(share)
    if not 0.0 < number <= 1.0:
        raise InputError(
            "bad-list",
            f"{where}: the share of label {value!r} must be above 0 and at most 1: correct it, or "
            f"write {value}:1 if this is the name of a class",
        )
    return listed_label(name, where), number


def _split(text: str) -> tuple[str, str]:
    """The name and the text of the share; the latter is empty if there is none."""
    name, _, share = text.rpartition(":")
    share = share.strip()
    is_share = ":" in text and _NUMBER.fullmatch(share) is not None
    if not is_share or (share.isdigit() and share != "1"):
        return text, ""
    return name, share


def label_texts(clip: Clip) -> tuple[str, ...]:
    """The labels of a clip as `parse_labels` reads them."""
    if clip.is_background:
        return (NONE,)
    shares = clip.shares or (1.0,) * len(clip.labels)
    return tuple(label_text(*pair) for pair in zip(clip.labels, shares, strict=True))


def label_text(name: str, share: float = 1.0) -> str:
    """A label as `parse_labels` reads it."""
    if share != 1.0:
        return f"{name}:{share!r}"
    return f"{name}:1" if _stands_for_none(name) or _split(name)[1] else name


def refuse_numbered(labels: Iterable[tuple[str, Any]]) -> None:
    """Refuse lists in which ``X:1`` may be a class beside ``X:2``, and not class X in full.

    Args:
        labels: The location and the value of each label.

    Raises:
        InputError: Naming both.
    """
    in_full: dict[str, str] = {}
    numbered: dict[str, str] = {}
    for where, value in labels:
        name, _, number = value.strip().rpartition(":") if isinstance(value, str) else ("", "", "")
        if number == "1" and ":" not in name:
            in_full.setdefault(name, where)
        elif number.isdigit() and name:
            numbered.setdefault(name, number)
    for name in in_full.keys() & numbered.keys():
        raise InputError(
            "bad-list",
            f"{in_full[name]}: label '{name}:1' is class {name!r} with a share of 1, but the list "
            f"also has the class '{name}:{numbered[name]}': write {name}:1:1 if 1 is part of the "
            "name",
        )


def parse_weight(value: Any, where: str) -> float:
    """Return the weight of a clip; 1 if none is given.

    Raises:
        InputError: If it is not a number above 0 and at most 1.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return 1.0
    try:
        weight = float(value)
    except (TypeError, ValueError):
        weight = 0.0
    if not 0.0 < weight <= 1.0:  # also if it is not a number
        raise InputError(
            "bad-list",
            f"{where}: weight is {value!r}; give a number above 0 and at most 1, or leave it empty",
        )
    return weight
