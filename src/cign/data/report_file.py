"""``report.json`` of a store, checked when it is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cign.errors import InputError
from cign.utils.files import read_json
from cign.vocabulary import SPLITS

_NUMBERS = ("num_listed", "num_usable", "num_duplicates", "num_duplicates_across")
_SHARED = {"split": str, "other": str, "num_sources": int, "num_clips": int}


def read_report_file(path: Path) -> dict[str, Any]:
    """Read the report on preparing a store.

    Raises:
        InputError: If it is missing, damaged, or lacks an entry.
    """
    report = read_json(path, "report of the store")
    if (name := _invalid_entry(report)) is not None:
        raise InputError(
            "damaged",
            f"report {path} is damaged ({name!r} is missing or invalid): restore it, or prepare "
            "again into a new folder",
        )
    assert isinstance(report, dict)
    return report


def _invalid_entry(report: Any) -> str | None:
    """The first entry that is missing or of another type; None if there is none."""
    if not isinstance(report, dict):
        return _NUMBERS[0]
    for name in _NUMBERS:
        if type(report.get(name)) is not int:
            return name
    counts, notes, shared = (report.get(name) for name in ("counts", "notes", "shared_sources"))
    if not _are_counts(report.get("conditions")):
        return "conditions"
    if not isinstance(counts, dict) or not set(counts) <= {*SPLITS}:
        return "counts"
    if not all(map(_are_counts, counts.values())):
        return "counts"
    if not isinstance(notes, list) or not all(isinstance(note, str) for note in notes):
        return "notes"
    if not isinstance(shared, list) or not all(map(_is_shared, shared)):
        return "shared_sources"
    return None


def _are_counts(values: Any) -> bool:
    return isinstance(values, dict) and all(type(value) is int for value in values.values())


def _is_shared(pair: Any) -> bool:
    if not isinstance(pair, dict) or set(pair) != set(_SHARED):
        return False
    return all(type(pair[name]) is kind for name, kind in _SHARED.items())
