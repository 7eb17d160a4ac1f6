"""The clips of precomputed features: labels, splits, ids and recordings as columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cign.data.clips import Clip
from cign.data.formats.dividing import divide
from cign.data.formats.label_texts import parse_labels, parse_weight, refuse_numbered
from cign.data.formats.labels import is_missing
from cign.data.formats.listing import Listing
from cign.data.formats.split_names import sure_split
from cign.data.formats.table import labels_of, source_of, text_of
from cign.errors import InputError, one_of
from cign.utils.file_text import escape_name
from cign.vocabulary import SPLITS

OPTIONAL = ("split", "id", "source", "weight")
COLUMNS = ("labels", *OPTIONAL)

# Clips without splits, as in class folders.
_SHARES = {"val": 0.1, "test": 0.2}


@dataclass(frozen=True, kw_only=True)
class Columns:
    """What a source of features says about its clips.

    Attributes:
        values: ``labels`` and those of `OPTIONAL` that are given, one value per clip.
        what: The source, for error messages.
        where: Returns the location of a clip, by its row from 0, for error messages.
        path: The file or folder of the features.
    """

    values: Mapping[str, Sequence[Any]]
    what: str
    where: Callable[[int], str]
    path: Path

    @property
    def lengths(self) -> dict[str, int]:
        """Number of values by column."""
        return {name: len(values) for name, values in self.values.items()}

    def listing(self, notes: Sequence[str]) -> Listing:
        """Return the clips, one for each row.

        Without splits, 70 / 10 / 20 % of each class become train, val and test by a hash of the
        clips' recordings.

        Args:
            notes: Notes on what was ignored, one sentence each.

        Raises:
            InputError: If a value is wrong, or an id occurs twice.
        """
        labels, splits = self.values["labels"], self.values.get("split")
        ids = self._ids(len(labels))
        sources, weights = self.values.get("source"), self.values.get("weight")
        texts: dict[Any, str] = {}
        clips = []
        for row, one in enumerate(labels):
            where = self.where(row)
            texts.update((text, where) for text in labels_of(one))
            names, shares = parse_labels(labels_of(one), where)
            clips.append(
                Clip(
                    id=ids[row],
                    path=self.path,
                    labels=names,
                    shares=shares,
                    weight=1.0 if weights is None else parse_weight(weights[row], where),
                    split="train" if splits is None else _split(splits[row], where),
                    source=(source_of(sources[row], where) if sources is not None else "")
                    or ids[row],
                )
            )
        refuse_numbered((where, text) for text, where in texts.items())
        if splits is None:
            clips = divide(clips, _SHARES)
            notes = (*notes, "no splits are given: 70 / 10 / 20 % of each class, by a hash")
        return Listing(clips=tuple(clips), notes=tuple(notes))

    def _ids(self, num_clips: int) -> list[str]:
        """The ids of the clips; row numbers of equal length if none are given."""
        given = self.values.get("id")
        if given is None:
            width = max(6, len(str(num_clips - 1)))
            return [f"{row:0{width}d}" for row in range(num_clips)]
        first_of: dict[str, int] = {}
        for row, value in enumerate(given):
            name = escape_name(text_of(value))
            if is_missing(value) or not name:
                raise InputError(
                    "bad-list", f"{self.where(row)}: the id is missing: add it, or leave out ids"
                )
            first = first_of.setdefault(name, row)
            if first != row:
                raise InputError(
                    "bad-list",
                    f"{self.what} has id {name!r} twice ({self.where(first)} and "
                    f"{self.where(row)}): give each clip an id of its own, or leave out ids",
                )
        return list(first_of)


def _split(value: Any, where: str) -> str:
    split = sure_split(text_of(value))
    if split is None:
        raise one_of(text_of(value), SPLITS, f"split in {where}")
    return split


def column(values: Any, name: str, what: str) -> list[Any]:
    """Return a column of text or whole numbers as a list.

    Args:
        values: An array of one dimension, or a sequence; labels may be a sequence of sequences.
        name: The column.
        what: The source, for error messages.

    Raises:
        InputError: If it is not such a column.
    """
    if isinstance(values, np.ndarray) or hasattr(values, "__array__"):
        array = np.asarray(values)
        if array.ndim != 1 or array.dtype.kind not in "USOiuf":
            raise InputError(
                "bad-list",
                f"{what}: {name} is an array of {array.dtype} with shape {list(array.shape)}: give "
                "one text for each clip" + (", several labels joined by |" * (name == "labels")),
            )
        items: list[Any] = array.tolist()
    elif isinstance(values, Sequence) and not isinstance(values, (str, bytes)):
        items = list(values)
    else:
        raise InputError(
            "bad-list",
            f"{what}: {name} is a value of type {type(values).__name__}: give an array or a list "
            "with one value for each clip",
        )
    try:
        return [_plain(item) for item in items]
    except UnicodeDecodeError:
        raise InputError(
            "bad-list", f"{what}: {name} has text that is not UTF-8: save it as text"
        ) from None


def _plain(item: Any) -> Any:
    """Bytes as text, and an array as a list."""
    if isinstance(item, bytes):
        return item.decode()
    return item.tolist() if isinstance(item, np.ndarray) else item
