"""Parse class names in lists: missing values, and whole numbers written as decimals."""

from __future__ import annotations

import math
import re
from dataclasses import replace

from cign.data.clips import Clip, check_label
from cign.data.formats.listing import Listing
from cign.errors import InputError

# Texts that programs write for a missing value. A class folder may have such a name; a class in
# a list may not.
MISSING = frozenset(
    {"nan", "NaN", "NAN", "null", "NULL", "Null", "None", "<NA>", "NA", "N/A", "n/a", "#N/A", "NaT"}
)
_WHOLE = re.compile(r"(-?\d+)(\.0+)?")


def is_missing(value: object) -> bool:
    """Return whether a value is missing: null, NaN, an empty text, or a text of `MISSING`."""
    if isinstance(value, str):
        return not value.strip() or value.strip() in MISSING
    return value is None or (isinstance(value, float) and math.isnan(value))


def listed_label(value: object, where: str) -> str:
    """Return the class name that a list gives a clip; see `cign.data.clips.check_label`.

    Args:
        value: The value as read: a text, or a value of another type from JSON or Parquet.
        where: The location in the list, for the error message.

    Raises:
        InputError: If it is missing or cannot be the name of a class.
    """
    shown = "null" if value is None else str(value).strip()
    if shown and is_missing(value):
        raise InputError(
            "bad-list", f"{where}: the class name is missing ({shown}): add it, or remove the row"
        )
    return check_label(str(value), where)


def without_decimals(name: str) -> str:
    """Return a whole number without its decimals, for example ``1`` for ``1.0``; or the name."""
    match = _WHOLE.fullmatch(name)
    return match[1] if match else name


def with_whole_numbers(listing: Listing) -> Listing:
    """Write class numbers without decimals if all class names are whole numbers.

    Programs without a missing value for integers convert such a column to ``0.0, 1.0``.
    """
    names = {name for clip in listing.clips for name in clip.labels}
    wholes = {name: without_decimals(name) for name in names}
    if not all(map(_WHOLE.fullmatch, names)) or all(name == wholes[name] for name in names):
        return listing

    def whole(labels: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(wholes.get(name, name) for name in labels))

    def in_whole_numbers(clip: Clip) -> Clip:
        shares = dict(zip(map(str, whole(clip.labels)), clip.shares, strict=False))
        return replace(clip, labels=whole(clip.labels), shares=tuple(shares.values()))

    return replace(
        listing,
        clips=tuple(map(in_whole_numbers, listing.clips)),
        class_order=whole(listing.class_order),
        true_labels={clip: whole(labels) for clip, labels in listing.true_labels.items()},
    )
