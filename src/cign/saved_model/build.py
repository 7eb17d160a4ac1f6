"""Build a model's method from its description, after comparing its sizes with the weights.

A description may specify networks of any size. They are first built without memory on torch's
``meta`` device, and built for real only if the file of weights contains every one of their
weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from cign.backbones.fitting import fit
from cign.backbones.registry import load_backbone, load_blocks
from cign.data.media.decode import MediaSpec
from cign.errors import CignError, InputError, reason_of
from cign.methods import method_class
from cign.methods.base import Method, Setup
from cign.networks.encoder import TokenShape
from cign.networks.training_state import clear_training_state
from cign.utils.checkpoint import check_state, load_module
from cign.utils.options import configure

# Numbers other than network sizes, such as a sampling rate, may exceed a small file of weights.
_HARMLESS = 1_000_000


def build_method(about: dict[str, Any], state: dict[str, Tensor], where: str, file: str) -> Method:
    """Build a method and load its weights.

    Args:
        about: A description checked by `cign.saved_model.schema.check_about`.
        state: The weights.
        where: Name of the model, for error messages.
        file: Name of the file of weights, for error messages.

    Raises:
        InputError: If the description has unknown entries, cannot be built, or does not match the
            weights.
    """
    _check_counts(about, state, where)
    try:
        with torch.device("meta"):
            draft = _assemble(about, where)
    except CignError:
        raise
    except Exception as error:  # networks fail in many ways on inconsistent sizes
        reason = reason_of(error)[:160]
        raise InputError(
            "damaged",
            f"{where} describes a network that cannot be built ({reason}): restore or recreate it",
        ) from None
    clear_training_state(draft)
    draft.make_room(state)
    check_state(draft, state, file)
    method = _assemble(about, where)
    clear_training_state(method)
    method.make_room(state)
    load_module(method, state, file)
    return method


def groups_of(about: dict[str, Any]) -> list[list[str]]:
    """Class names of each task; a task is empty if its classes were removed."""
    groups: list[list[str]] = [[] for _ in range(max(e["task"] for e in about["classes"]))]
    for entry in about["classes"]:
        groups[entry["task"] - 1].append(entry["name"])
    return groups


def _assemble(about: dict[str, Any], where: str) -> Method:
    """The method, grown to its number of classes, on torch's current device."""
    cls = method_class(about["method"])
    name, backbone = about["backbone"]["name"], None
    if about["regime"] == "end-to-end":
        backbone = load_backbone(name, weights=False, record=about["backbone"].get("record"))
        fit(backbone, MediaSpec(**about["preprocessing"]))
    method = cls(
        Setup(
            shape=TokenShape(**about["shape"]),
            backbone=backbone,
            blocks=load_blocks(name, cls.name) if cls.needs_blocks else None,
            multi_label=about["multi_label"],
            bf16=about["bf16"],
        ),
        configure(cls.Options, about["options"], where),
    )
    for group in groups_of(about):
        method.grow(len(group))
    return method


def _check_counts(about: dict[str, Any], state: dict[str, Tensor], where: str) -> None:
    """Check what the meta device cannot limit: numbers of layers, and arrays drawn by numpy."""
    most, num_values = len(state), sum(weight.numel() for weight in state.values())
    options, shape = about["options"], about["shape"]
    what, least = method_class(about["method"]).least_weights(options, shape)
    if least > num_values:
        raise _beyond(where, what, num_values, "values")
    record = about["backbone"].get("record")
    for name, number in (*_numbers(options), *_numbers(record)):
        if ("depth" in name or "layers" in name) and number > most:
            raise _beyond(where, f"{name} {number:.3g}", most, "tensors")
    for name, number in _numbers(record):
        if number > max(num_values, _HARMLESS):
            raise _beyond(where, f"{name} {number:.3g}", num_values, "values")


def _beyond(where: str, what: str, number: int, unit: str) -> InputError:
    return InputError(
        "damaged",
        f"{where} describes {what}, but its weights have {number} {unit}: restore or recreate it",
    )


def _numbers(values: Any, name: str = "") -> Iterator[tuple[str, int]]:
    """All whole numbers in nested entries, with their names."""
    if isinstance(values, dict):
        for key, item in values.items():
            yield from _numbers(item, str(key))
    elif isinstance(values, list):
        for item in values:
            yield from _numbers(item, name)
    elif isinstance(values, int):
        yield name, values
