"""What the tuning of all methods shares, and the sets of options that trials start from."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from importlib import resources
from typing import Any

import yaml

from cign.errors import one_of
from cign.methods import method_class
from cign.utils.options import merged

BASE = "base"
"""Name of the axis whose values are bases."""


@functools.cache
def shared() -> dict[str, Any]:
    """The contents of ``shared.yaml``, to which recipes refer under ``tuning``."""
    file = resources.files("cign") / "tuning" / "shared.yaml"
    found: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return found


def has_training(method: str) -> bool:
    """Whether a method has options for gradient steps, of which the search varies two."""
    fields = dataclasses.fields(method_class(method).Options)
    return "training" in {one.name for one in fields}


def base_options(method: str, base: str | None, fixed: Mapping[str, Any]) -> dict[str, Any]:
    """The options of all trials with a base.

    Args:
        method: Name of the method.
        base: Name of the base in ``shared.yaml``; None for trials without one.
        fixed: Options of all trials of the method.

    Raises:
        InputError: If there is no such base.
    """
    options = {"training": shared()["training"]} if has_training(method) else {}
    if base is not None:
        bases = shared()["bases"]
        if base not in bases:
            raise one_of(base, bases, "base under tuning")
        options = merged(options, bases[base])
    return merged(options, fixed)
