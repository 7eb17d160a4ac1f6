"""Solve a trained model again with other settings, from its sums and without any clip."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from cign.errors import InputError
from cign.methods.capabilities import selection_in_words, updatable
from cign.methods.sums import SETTING_NAMES, change_settings, select_again
from cign.saved_model.model import Model
from cign.updating.edits import with_change
from cign.updating.impact import Effect, measure_effect
from cign.updating.merging import sums_of
from cign.updating.settings_text import differing
from cign.utils.wording import value_text
from cign.vocabulary import UNIMODAL


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """What was changed.

    Attributes:
        changed: What differs, in one line, for example ``audio ridge 20 -> 100``; empty if nothing.
        settings: All settings now, in one line.
        effect: Accuracy on the stored validation clips; None without any.
    """

    changed: str
    settings: str
    effect: Effect | None


def resolve_model(
    model: Model, settings: Mapping[str, Any], *, select: bool = False
) -> tuple[Model, Resolved]:
    """Solve a model with other settings.

    Args:
        model: A model with sums for every view.
        settings: Values by name, each for both modalities or by modality: ``{"ridge": 100.0}``,
            ``{"ridge": {"audio": 100.0}}`` or ``{"audio": {"ridge": 100.0}}``.
        select: Select the settings by the tallies instead.

    Returns:
        The new model and what was changed. Settings that were given are kept when clips are added.

    Raises:
        InputError: If a setting is unknown, has no effect, or needs sums that are not stored.
        RunError: If the ridge solution is singular.
    """
    if select and settings:
        raise InputError(
            "conflicting-options", "settings are given or selected, not both: leave out one"
        )
    given = _by_modality(settings)
    if not select and not any(given.values()):
        raise InputError(
            "missing-option",
            f"no setting was given: give one of {', '.join(SETTING_NAMES)}, or select",
        )
    before = sums_of(model)
    method = copy.deepcopy(model.method)
    changed = replace(model, method=method)
    sums = sums_of(changed)
    for modality, values in given.items():
        if values:
            change_settings(sums, modality, values)
    if select:
        select_again(sums)
    solving = updatable(method)
    assert solving is not None
    solving.solve()
    effect = None
    if model.kept is not None:
        changed.unknown = model.kept.unknown_rule(method)
        names = model.classes
        effect = measure_effect((model.method, names), (method, names), model.kept)
    text = "settings selected again" if select else f"settings changed: {_in_words(given)}"
    return with_change(changed, text), Resolved(
        changed=differing([before, sums], " -> "),
        settings=selection_in_words(method),
        effect=effect,
    )


def _by_modality(settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Values by modality and name.

    Raises:
        InputError: If a modality is unknown, or a setting is given twice.
    """
    found: dict[str, dict[str, Any]] = {modality: {} for modality in UNIMODAL}
    for name, value in settings.items():
        if name in UNIMODAL:
            if not isinstance(value, Mapping):
                raise InputError(
                    "bad-value", f"{name} is {value!r}: name a setting, for example {name}.ridge"
                )
            pairs = [(name, inner, one) for inner, one in value.items()]
        elif isinstance(value, Mapping):
            pairs = [(modality, name, one) for modality, one in value.items()]
        else:
            pairs = [(modality, name, value) for modality in UNIMODAL]
        for modality, inner, one in pairs:
            if modality not in found:
                raise InputError(
                    "unknown-name",
                    f"{name}.{modality} is not a setting: use audio.NAME or visual.NAME, or "
                    "NAME for both",
                )
            if inner in found[modality]:
                raise InputError(
                    "conflicting-options", f"{modality}.{inner} is given twice: give it once"
                )
            found[modality][inner] = one
    return found


def _in_words(given: Mapping[str, Mapping[str, Any]]) -> str:
    return "; ".join(
        f"{modality} " + ", ".join(f"{name} {value_text(value)}" for name, value in values.items())
        for modality, values in given.items()
        if values
    )
