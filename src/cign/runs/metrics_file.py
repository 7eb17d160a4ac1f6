"""``metrics.json`` of a run, checked when it is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cign.errors import InputError
from cign.utils.files import read_json

_STORE_TEXTS = ("path", "list_hash", "test_path", "test_list_hash")
_STORE_NUMBERS = ("num_train", "num_test")


def read_metrics(folder: Path) -> dict[str, Any]:
    """Read the metrics of a run. Entries may be missing: earlier versions wrote fewer.

    Args:
        folder: The RUN folder.

    Raises:
        InputError: If the file is missing, is not one of a run, or has an entry of the wrong type.
    """
    path = folder / "metrics.json"
    metrics = read_json(path, "metrics")
    if not isinstance(metrics, dict):
        raise InputError("wrong-format", f"{path} is not the metrics of a run: train the run again")
    for name, is_valid in _CHECKS.items():
        if name in metrics and not is_valid(metrics[name]):
            raise _damaged(path, name)
    if "tasks" in metrics and "classes" in metrics:
        names = [name for group in metrics["tasks"] for name in group]
        if sorted(names) != sorted(metrics["classes"]):
            raise _damaged(path, "tasks")
    try:
        json.dumps(metrics, allow_nan=False, ensure_ascii=False).encode()
    except ValueError:  # NaN, infinity, or half of a surrogate pair
        raise InputError(
            "damaged",
            f"{path} is damaged (it has a value that JSON or UTF-8 lacks): restore it, or train "
            "the run again",
        ) from None
    return metrics


def _damaged(path: Path, name: str) -> InputError:
    return InputError(
        "damaged",
        f"{path} is damaged ({name!r} has an invalid value): restore it, or train the run again",
    )


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    """Whether a value is a number that fits a float."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and -1e300 < value < 1e300


def _or_none(is_valid: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or is_valid(value)


def _is_list(is_valid: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(is_valid, value))


def _is_mapping(is_valid: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, dict) and all(map(is_valid, value.values()))


def _anything(value: Any) -> bool:
    return True


def _is_store(value: Any) -> bool:
    """Whether a value describes the stores of a run."""
    return isinstance(value, dict) and all(
        is_valid(value[name])
        for names, is_valid in ((_STORE_TEXTS, _is_text), (_STORE_NUMBERS, _is_whole))
        for name in names
        if name in value
    )


def _is_code(value: Any) -> bool:
    """Whether a value is a version of the code, see `cign.utils.code_version`."""
    return (
        isinstance(value, dict)
        and all(_or_none(_is_text)(value.get(name, 0)) for name in ("version", "commit"))
        and value.get("dirty", 0) in (None, True, False)
        and not _is_whole(value.get("dirty", 0))
    )


def _is_online(value: Any) -> bool:
    """Whether a value has the accuracies of an online stream."""
    return isinstance(value, dict) and _is_list(_is_mapping(_anything))(value.get("points"))


_CHECKS: dict[str, Callable[[Any], bool]] = {
    "status": _is_text,
    "method": _is_text,
    "config": _is_mapping(_anything),
    "classes": _is_list(_is_text),
    "tasks": _is_list(_is_list(_is_text)),
    "modalities": _is_mapping(_is_mapping(_anything)),
    "online": _is_online,
    "costs": _is_mapping(_or_none(_is_number)),
    "losses": _is_list(_is_mapping(_anything)),
    "seeds": _is_mapping(_is_whole),
    "store": _is_store,
    "num_train_per_class": _or_none(_is_mapping(_is_whole)),
    "limit": _or_none(_is_number),
    "code": _is_list(_is_code),
    "versions": _is_mapping(_is_text),
    "machine": _is_mapping(_anything),
}
"""What the entries that are read must be."""
