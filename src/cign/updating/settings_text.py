"""Wording of settings that differ."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from cign.methods.left_out import SumsOfViews
from cign.utils.wording import value_text
from cign.vocabulary import UNIMODAL


def differing(methods: Sequence[SumsOfViews], separator: str) -> str:
    """The settings in which methods differ, for example ``audio ridge 20 / 100; visual ...``.

    Args:
        methods: Methods with the same views.
        separator: Between the values of the methods.
    """
    parts = []
    for modality in UNIMODAL:
        settings = [one.of(modality).setting.to_dict() for one in methods]
        names = dict.fromkeys(name for values in settings for name in values)
        found = [
            f"{name} {separator.join(map(value_text, values))}"
            for name in names
            if _differ(values := [one.get(name, "-") for one in settings])
        ]
        if found:
            parts.append(f"{modality} {', '.join(found)}")
    fusions = [one.options.fusion for one in methods]
    if _differ(fusions):
        kinds = (f"{one.kind} at temperature {one.temperature:g}" for one in fusions)
        parts.append(f"fusion {separator.join(kinds)}")
    return "; ".join(parts)


def _differ(values: Iterable[Any]) -> bool:
    first, *others = values
    return any(value != first for value in others)
