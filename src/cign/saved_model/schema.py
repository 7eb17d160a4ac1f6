"""Validation of ``model.json``, before anything is built or allocated from it.

A MODEL folder may come from an untrusted source. Each error is one sentence. The sizes in a
description are compared with the file of weights in `cign.saved_model.folder`.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from cign.data.tokens import is_features
from cign.errors import InputError
from cign.vocabulary import MODALITIES, REGIMES, UNIMODAL

FILES = ("model.safetensors", "kept.safetensors")
MOST_TASKS = 10_000
MOST_BYTES_A_CLIP = 2**30
MOST_DEEP = 50
_SHA256 = re.compile(r"[0-9a-f]{64}")
_DIMS = ("audio_dim", "visual_dim", "num_audio_tokens", "num_visual_tokens")

Check = Callable[[Any], bool]


class _WrongError(Exception):
    """An invalid entry: which one, and why."""


def check_about(about: Any, where: str) -> dict[str, Any]:
    """Check a description.

    Args:
        about: Contents of ``model.json``.
        where: Name of the file, for the error message.

    Returns:
        The description.

    Raises:
        InputError: Naming the first entry that is missing, of the wrong type, or out of range.
    """
    try:
        _check(_is(about, "it", dict, "a mapping"))
    except _WrongError as wrong:
        raise InputError(
            "damaged",
            f"{where} does not describe a model of cign ({wrong}): restore or recreate it",
        ) from None
    return dict(about)


def _check(about: dict[str, Any]) -> None:
    for place, text in _texts(about):
        if any(unicodedata.category(mark) in ("Cc", "Cs") for mark in text):
            raise _WrongError(f"{place} holds a control character")
    _whole(about, "format", 1, 10**9)
    _has(about, "method", str, "text")
    _has(about, "options", dict, "a mapping")
    _check_classes(_has(about, "classes", list, "a list"))
    if _has(about, "regime", str, "text") not in REGIMES:
        raise _WrongError(f"regime is {_shown(about['regime'])}, not one of {', '.join(REGIMES)}")
    for name in ("multi_label", "bf16"):
        _has(about, name, bool, "true or false")
    _check_shape(_has(about, "shape", dict, "a mapping"))
    _check_backbone(_has(about, "backbone", dict, "a mapping"))
    if _got(about, "preprocessing") is not None:
        _check_preprocessing(_has(about, "preprocessing", dict, "a mapping"))
    if (about["preprocessing"] is None) != is_features(about["backbone"]["name"]):
        raise _WrongError("preprocessing and the name of the backbone do not match")
    if about["regime"] != "frozen" and about["preprocessing"] is None:
        raise _WrongError(f"regime {about['regime']} needs preprocessing")
    if "unknown" in about:
        _check_unknown(_has(about, "unknown", dict, "a mapping"))
    elif _got(about, "unknown_threshold") is not None:
        _number(about, "unknown_threshold")
    results = _has(about, "results", dict, "a mapping")
    for name in results:
        of = f"results: {_shown(name)}: "
        figures = _has(results, name, dict, "a mapping", "results: ")
        for key in ("last", "average", "forgetting"):
            if figures.get(key) is not None:
                _number(figures, key, of)
    for name in _has(about, "versions", dict, "a mapping"):
        _has(about["versions"], name, str, "text", "versions: ")
    for change in _is(about.get("changes", []), "changes", list, "a list"):
        for name in _is(change, "a change", dict, "a mapping"):
            _has(change, name, str, "text", "a change: ")
        for name in ("date", "text"):
            _has(change, name, str, "text", "a change: ")
        if not change.get("task", "1").isdecimal():
            raise _WrongError(f"a change: task is {_shown(change['task'])}, not a number")
    for modality in _is(about.get("fixed", []), "fixed", list, "a list"):
        if modality not in UNIMODAL:
            raise _WrongError(f"fixed has {_shown(modality)}, not {' or '.join(UNIMODAL)}")
    for one in _is(about.get("leave_one_out", []), "leave_one_out", list, "a list"):
        _check_estimate(_is(one, "an entry of leave_one_out", dict, "a mapping"))
    checksums = _has(about, "checksums", dict, "a mapping")
    for name in checksums:
        if name not in FILES or not _SHA256.fullmatch(str(checksums[name])):
            raise _WrongError(
                f"checksums: {_shown(name)} has no SHA-256 of one of {', '.join(FILES)}"
            )
    _has(checksums, FILES[0], str, "text", "checksums: ")
    if about.get("kept") is not None:
        _check_kept(_has(about, "kept", dict, "a mapping"), about["classes"])


def _check_classes(classes: list[Any]) -> None:
    names = []
    for entry in classes:
        _is(entry, "an entry of classes", dict, "a mapping")
        name = _has(entry, "name", str, "text", "a class: ")
        if not name.strip() or not name.isprintable() or "|" in name:
            raise _WrongError(
                f"class name {_shown(name)} is empty or contains unprintable characters or |"
            )
        _whole(entry, "task", 1, MOST_TASKS, where=f"class {_shown(name)}: ")
        names.append(name)
    if not names:
        raise _WrongError("classes is empty")
    if len(set(names)) < len(names):
        raise _WrongError(f"class {_shown(Counter(names).most_common(1)[0][0])} occurs twice")


def _check_shape(shape: dict[str, Any]) -> None:
    for name in _DIMS:
        _whole(shape, name, 1, 10**9, where="shape: ")
    for name in ("audio_grid", "visual_grid"):
        grid = shape.get(name)
        if grid is not None:
            _is(grid, f"shape: {name}", list, "two whole numbers")
            if len(grid) != 2 or not all(_is_whole(n) and 1 <= n <= 10**9 for n in grid):
                raise _WrongError(
                    f"shape: {name} is {_shown(grid)}, not two whole numbers of 1 or more"
                )
    _only(shape, (*_DIMS, "audio_grid", "visual_grid"), "shape")


def _check_backbone(backbone: dict[str, Any]) -> None:
    if not _has(backbone, "name", str, "text", "backbone: "):
        raise _WrongError("backbone: name is empty")
    _has(backbone, "fingerprint", str, "text", "backbone: ")
    if backbone.get("record") is not None:
        _has(backbone, "record", dict, "a mapping", "backbone: ")


def _check_preprocessing(spec: dict[str, Any]) -> None:
    where = "preprocessing: "
    _whole(spec, "num_frames", 1, 100_000, where=where)
    _whole(spec, "frame_px", 16, 16_384, where=where)
    _whole(spec, "rate_hz", 1, 10**6, where=where)
    window_s = _number(spec, "window_s", where)
    _only(spec, ("num_frames", "frame_px", "rate_hz", "window_s"), "preprocessing")
    samples = spec["rate_hz"] * window_s
    size = spec["num_frames"] * spec["frame_px"] ** 2 * 3 + 4 * samples
    if not (samples >= 1 and size <= MOST_BYTES_A_CLIP):
        raise _WrongError(
            f"preprocessing: {_shown(spec)} makes clips of {size:.3g} bytes with {samples:.3g} "
            f"audio samples; the limits are 1 sample and {MOST_BYTES_A_CLIP} bytes"
        )


def _check_unknown(unknown: dict[str, Any]) -> None:
    """Check types and ranges; `cign.open_set.rule` checks whether the score can be computed."""
    where = "unknown: "
    _has(unknown, "score", str, "text", where)
    _whole(unknown, "num_clips", 0, 10**12, where=where)
    for kind in ("thresholds", "moments"):
        for name in _has(unknown, kind, dict, "a mapping", where):
            if name not in MODALITIES:
                raise _WrongError(f"unknown: {kind} has {_shown(name)}, which is not a modality")
    for name in unknown["thresholds"]:
        _number(unknown["thresholds"], name, "unknown: thresholds: ")
    for modality, parts in unknown["moments"].items():
        of = f"unknown: moments: {modality}: "
        for name in _is(parts, of[:-2], dict, "a mapping"):
            one = _has(parts, name, dict, "a mapping", of)
            _number(one, "mean", f"{of}{_shown(name)}: ")
            if not _number(one, "std", f"{of}{_shown(name)}: ") > 0:
                raise _WrongError(f"{of}{_shown(name)}: std {one['std']} is not positive")


def _check_estimate(one: dict[str, Any]) -> None:
    where = "leave_one_out: "
    for name, low in (("task", 1), ("num_classes", 1), ("num_clips", 0), ("num_alone", 0)):
        _whole(one, name, low, 10**12, where=where)
    for name, allowed in (("left_out", ("sources", "clips")), ("measure", ("accuracy", "map"))):
        if _has(one, name, str, "text", where) not in allowed:
            raise _WrongError(f"{where}{name} is {_shown(one[name])}, not {' or '.join(allowed)}")
    _has(one, "reason", str, "text", where)
    percent = _has(one, "percent", dict, "a mapping", where)
    for name in () if one["reason"] else MODALITIES:
        _number(percent, name, f"{where}percent: ")
    named = ("task", "num_classes", "num_clips", "num_alone", "left_out", "measure", "reason")
    _only(one, (*named, "percent"), "leave_one_out")


def _check_kept(kept: dict[str, Any], classes: list[dict[str, Any]]) -> None:
    known = {entry["name"] for entry in classes}
    labels = _has(kept, "labels", list, "a list", "kept: ")
    for names in labels:
        if not isinstance(names, list) or not names or not known.issuperset(map(str, names)):
            raise _WrongError(
                f"kept: labels has {_shown(names)}, not a list of the model's classes"
            )
    _whole(kept, "num_clips", 1, 10**12, where="kept: ")
    if kept["num_clips"] != len(labels):
        raise _WrongError(
            f"kept: num_clips is {kept['num_clips']}, but there are {len(labels)} labels"
        )


# ------------------------------------------------------------------ single entries


def _got(values: dict[str, Any], name: str, where: str = "") -> Any:
    if name not in values:
        raise _WrongError(f"{where}{_shown(name)} is missing")
    return values[name]


def _has(values: dict[str, Any], name: str, kind: type, kind_text: str, where: str = "") -> Any:
    return _is(_got(values, name, where), f"{where}{name}", kind, kind_text)


def _is(value: Any, what: str, kind: type, kind_text: str) -> Any:
    if not isinstance(value, kind):
        raise _WrongError(f"{what} is {_shown(value)}, not {kind_text}")
    return value


def _whole(
    values: dict[str, Any],
    name: str,
    low: int,
    high: int,
    *,
    where: str = "",
) -> None:
    value = _got(values, name, where)
    if not _is_whole(value) or not low <= value <= high:
        raise _WrongError(
            f"{where}{name} is {_shown(value)}, not a whole number from {low} to {high}"
        )


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(values: dict[str, Any], name: str, where: str = "") -> float:
    """A finite number."""
    value = _got(values, name, where)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not abs(value) < 1e30:  # excludes infinity, NaN and 10**400
        raise _WrongError(f"{where}{name} is {_shown(value)}, not a number")
    return float(value)


def _only(values: dict[str, Any], names: tuple[str, ...], where: str) -> None:
    for name in values:
        if name not in names:
            raise _WrongError(f"{where} has an unknown entry {_shown(name)}")


def _shown(value: Any) -> str:
    """A value for an error message: short, without control sequences."""
    if isinstance(value, int) and abs(value) > 10**30:
        return "a number of more than 30 digits"
    text = ascii(value) if not isinstance(value, str) else repr(value[:80])
    return text if len(text) <= 80 else text[:77] + "..."


def _texts(value: Any) -> Iterator[tuple[str, str]]:
    """All strings, including keys, with the name of their entry."""
    left: list[tuple[Any, str, int]] = [(value, "it", 0)]
    while left:
        one, place, depth = left.pop()
        if depth > MOST_DEEP:
            raise _WrongError(f"it is nested more than {MOST_DEEP} deep")
        if isinstance(one, str):
            yield place, one
        elif isinstance(one, dict):
            for name, item in one.items():
                yield f"the name of an entry of {place}", name
                left.append((item, _shown(name), depth + 1))
        elif isinstance(one, list):
            left += [(item, place, depth + 1) for item in one]
