"""Validation of ``model.json``, before anything is built or allocated from it.

A MODEL folder may come from an untrusted source. Each error is one sentence. The sizes in a
description are compared with the file of weights in `cign.saved_model.folder`.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from typing import Any

from cign.data.tokens import is_features
from cign.errors import InputError
from cign.saved_model.entries import (
    WrongError,
    got,
    has,
    is_whole,
    number,
    only,
    share,
    shown,
    texts,
    typed,
    whole,
)
from cign.vocabulary import MODALITIES, REGIMES, UNIMODAL

FILES = ("model.safetensors", "kept.safetensors")
MOST_TASKS = 10_000
MOST_BYTES_A_CLIP = 2**30
WANTED = ("precision", "recall")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_DIMS = ("audio_dim", "visual_dim", "num_audio_tokens", "num_visual_tokens")

Check = Callable[[Any], bool]


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
        _check(typed(about, "it", dict, "a mapping"))
    except WrongError as wrong:
        raise InputError(
            "damaged",
            f"{where} does not describe a model of cign ({wrong}): restore or recreate it",
        ) from None
    return dict(about)


def _check(about: dict[str, Any]) -> None:
    for place, text in texts(about):
        if any(unicodedata.category(mark) in ("Cc", "Cs") for mark in text):
            raise WrongError(f"{place} holds a control character")
    whole(about, "format", 1, 10**9)
    has(about, "method", str, "text")
    has(about, "options", dict, "a mapping")
    _check_classes(has(about, "classes", list, "a list"))
    if has(about, "regime", str, "text") not in REGIMES:
        raise WrongError(f"regime is {shown(about['regime'])}, not one of {', '.join(REGIMES)}")
    for name in ("multi_label", "bf16"):
        has(about, name, bool, "true or false")
    _check_shape(has(about, "shape", dict, "a mapping"))
    _check_backbone(has(about, "backbone", dict, "a mapping"))
    if got(about, "preprocessing") is not None:
        _check_preprocessing(has(about, "preprocessing", dict, "a mapping"))
    if (about["preprocessing"] is None) != is_features(about["backbone"]["name"]):
        raise WrongError("preprocessing and the name of the backbone do not match")
    if about["regime"] != "frozen" and about["preprocessing"] is None:
        raise WrongError(f"regime {about['regime']} needs preprocessing")
    if "unknown" in about:
        _check_unknown(has(about, "unknown", dict, "a mapping"))
    elif got(about, "unknown_threshold") is not None:
        number(about, "unknown_threshold")
    results = has(about, "results", dict, "a mapping")
    for name in results:
        of = f"results: {shown(name)}: "
        figures = has(results, name, dict, "a mapping", "results: ")
        for key in ("last", "average", "forgetting"):
            if figures.get(key) is not None:
                number(figures, key, of)
    for name in has(about, "versions", dict, "a mapping"):
        has(about["versions"], name, str, "text", "versions: ")
    for change in typed(about.get("changes", []), "changes", list, "a list"):
        for name in typed(change, "a change", dict, "a mapping"):
            has(change, name, str, "text", "a change: ")
        for name in ("date", "text"):
            has(change, name, str, "text", "a change: ")
        if not change.get("task", "1").isdecimal():
            raise WrongError(f"a change: task is {shown(change['task'])}, not a number")
    for modality in typed(about.get("fixed", []), "fixed", list, "a list"):
        if modality not in UNIMODAL:
            raise WrongError(f"fixed has {shown(modality)}, not {' or '.join(UNIMODAL)}")
    for one in typed(about.get("leave_one_out", []), "leave_one_out", list, "a list"):
        _check_estimate(typed(one, "an entry of leave_one_out", dict, "a mapping"))
    if about.get("thresholds") is not None:
        _check_thresholds(has(about, "thresholds", dict, "a mapping"), about["classes"])
    if "background" in about:
        number(about, "background", "")
    checksums = has(about, "checksums", dict, "a mapping")
    for name in checksums:
        if name not in FILES or not _SHA256.fullmatch(str(checksums[name])):
            raise WrongError(
                f"checksums: {shown(name)} has no SHA-256 of one of {', '.join(FILES)}"
            )
    has(checksums, FILES[0], str, "text", "checksums: ")
    if about.get("kept") is not None:
        _check_kept(has(about, "kept", dict, "a mapping"), about["classes"])


def _check_classes(classes: list[Any]) -> None:
    names = []
    for entry in classes:
        typed(entry, "an entry of classes", dict, "a mapping")
        name = has(entry, "name", str, "text", "a class: ")
        if not name.strip() or not name.isprintable() or "|" in name:
            raise WrongError(
                f"class name {shown(name)} is empty or contains unprintable characters or |"
            )
        whole(entry, "task", 1, MOST_TASKS, where=f"class {shown(name)}: ")
        names.append(name)
    if not names:
        raise WrongError("classes is empty")
    if len(set(names)) < len(names):
        raise WrongError(f"class {shown(Counter(names).most_common(1)[0][0])} occurs twice")


def _check_shape(shape: dict[str, Any]) -> None:
    for name in _DIMS:
        whole(shape, name, 1, 10**9, where="shape: ")
    for name in ("audio_grid", "visual_grid"):
        grid = shape.get(name)
        if grid is not None:
            typed(grid, f"shape: {name}", list, "two whole numbers")
            if len(grid) != 2 or not all(is_whole(n) and 1 <= n <= 10**9 for n in grid):
                raise WrongError(
                    f"shape: {name} is {shown(grid)}, not two whole numbers of 1 or more"
                )
    only(shape, (*_DIMS, "audio_grid", "visual_grid"), "shape")


def _check_backbone(backbone: dict[str, Any]) -> None:
    if not has(backbone, "name", str, "text", "backbone: "):
        raise WrongError("backbone: name is empty")
    has(backbone, "fingerprint", str, "text", "backbone: ")
    if backbone.get("record") is not None:
        has(backbone, "record", dict, "a mapping", "backbone: ")


def _check_preprocessing(spec: dict[str, Any]) -> None:
    where = "preprocessing: "
    whole(spec, "num_frames", 1, 100_000, where=where)
    whole(spec, "frame_px", 16, 16_384, where=where)
    whole(spec, "rate_hz", 1, 10**6, where=where)
    window_s = number(spec, "window_s", where)
    only(spec, ("num_frames", "frame_px", "rate_hz", "window_s"), "preprocessing")
    samples = spec["rate_hz"] * window_s
    size = spec["num_frames"] * spec["frame_px"] ** 2 * 3 + 4 * samples
    if not (samples >= 1 and size <= MOST_BYTES_A_CLIP):
        raise WrongError(
            f"preprocessing: {shown(spec)} makes clips of {size:.3g} bytes with {samples:.3g} "
            f"audio samples; the limits are 1 sample and {MOST_BYTES_A_CLIP} bytes"
        )


def _check_unknown(unknown: dict[str, Any]) -> None:
    """Check types and ranges; `cign.open_set.rule` checks whether the score can be computed."""
    where = "unknown: "
    has(unknown, "score", str, "text", where)
    whole(unknown, "num_clips", 0, 10**12, where=where)
    for kind in ("thresholds", "moments"):
        for name in has(unknown, kind, dict, "a mapping", where):
            if name not in MODALITIES:
                raise WrongError(f"unknown: {kind} has {shown(name)}, which is not a modality")
    for name in unknown["thresholds"]:
        number(unknown["thresholds"], name, "unknown: thresholds: ")
    for modality, parts in unknown["moments"].items():
        of = f"unknown: moments: {modality}: "
        for name in typed(parts, of[:-2], dict, "a mapping"):
            one = has(parts, name, dict, "a mapping", of)
            number(one, "mean", f"{of}{shown(name)}: ")
            if not number(one, "std", f"{of}{shown(name)}: ") > 0:
                raise WrongError(f"{of}{shown(name)}: std {one['std']} is not positive")


def _check_estimate(one: dict[str, Any]) -> None:
    where = "leave_one_out: "
    for name, low in (("task", 1), ("num_classes", 1), ("num_clips", 0), ("num_alone", 0)):
        whole(one, name, low, 10**12, where=where)
    for name, allowed in (("left_out", ("sources", "clips")), ("measure", ("accuracy", "map"))):
        if has(one, name, str, "text", where) not in allowed:
            raise WrongError(f"{where}{name} is {shown(one[name])}, not {' or '.join(allowed)}")
    has(one, "reason", str, "text", where)
    percent = has(one, "percent", dict, "a mapping", where)
    for name in () if one["reason"] else MODALITIES:
        number(percent, name, f"{where}percent: ")
    named = ("task", "num_classes", "num_clips", "num_alone", "left_out", "measure", "reason")
    only(one, (*named, "percent"), "leave_one_out")


def _check_thresholds(found: dict[str, Any], classes: list[dict[str, Any]]) -> None:
    where = "thresholds: "
    if has(found, "measure", str, "text", where) not in WANTED:
        raise WrongError(f"{where}measure is {shown(found['measure'])}, not {' or '.join(WANTED)}")
    share(found, "wanted", where)
    names = [entry["name"] for entry in classes]
    if list(has(found, "classes", dict, "a mapping", where)) != names:
        raise WrongError(f"{where}classes are not those of the model")
    for name, by_modality in found["classes"].items():
        of = f"{where}class {shown(name)}: "
        if list(typed(by_modality, of[:-2], dict, "a mapping")) != list(MODALITIES):
            raise WrongError(f"{of}it does not have {', '.join(MODALITIES)}")
        for modality in MODALITIES:
            one, here = has(by_modality, modality, dict, "a mapping", of), f"{of}{modality}: "
            whole(one, "num_clips", 0, 10**12, where=here)
            has(one, "is_reached", bool, "true or false", here)
            for key in ("threshold", "precision", "recall"):
                if got(one, key, here) is not None:
                    share(one, key, here)
            only(one, ("num_clips", "is_reached", "threshold", "precision", "recall"), here[:-2])
    only(found, ("measure", "wanted", "classes"), "thresholds")


def _check_kept(kept: dict[str, Any], classes: list[dict[str, Any]]) -> None:
    known = {entry["name"] for entry in classes}
    labels = has(kept, "labels", list, "a list", "kept: ")
    for names in labels:
        if not isinstance(names, list) or not names or not known.issuperset(map(str, names)):
            raise WrongError(f"kept: labels has {shown(names)}, not a list of the model's classes")
    whole(kept, "num_clips", 1, 10**12, where="kept: ")
    if kept["num_clips"] != len(labels):
        raise WrongError(
            f"kept: num_clips is {kept['num_clips']}, but there are {len(labels)} labels"
        )
