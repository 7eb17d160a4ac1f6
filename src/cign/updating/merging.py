"""Merging of trained models: their sums over clips are added and solved again, without any clip.

Given the settings, the result is that of learning the clips of all models at once. All of it is
ours.
"""

from __future__ import annotations

import copy
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from cign.errors import InputError, one_of
from cign.methods import METHODS
from cign.methods.capabilities import (
    fix_settings,
    fixed_settings,
    selection_in_words,
    sums_of_views,
    updatable,
)
from cign.methods.left_out import SumsOfViews
from cign.methods.sums import (
    add_records,
    add_sums,
    add_tallies,
    difference,
    same_settings,
    same_sums,
    select_again,
    use_settings_of,
)
from cign.open_set.rule import UnknownRule
from cign.saved_model.model import Model
from cign.updating.edits import with_change
from cign.updating.impact import Effect, measure_effect
from cign.updating.joining import Joined, names_in, renamed
from cign.updating.settings_text import differing
from cign.utils.wording import counted, listed

LETTERS = string.ascii_uppercase
"""Names of the models in the order given; no more can be merged at a time."""
SELECT = "select"


@dataclass(frozen=True, kw_only=True)
class Merged:
    """What was merged.

    Attributes:
        clips: Number of clips of each class now, each counted by its weight and share.
        new: Classes that the first model did not know.
        shared: Classes that more than one model knew.
        settings: Whose settings are used: the letter of a model, ``select``, or empty if all
            models used the same.
        selected: The settings in one line; empty if there is one candidate only.
        effects: Accuracy on the validation clips of each model; None for one without any.
        num_kept: Number of validation clips now stored with the model.
        notes: What is approximate or suspicious; one sentence each.
        background: Number of clips with none of the classes now.
        num_twice: Number of clips that several models learned and that count several times.
        num_once: Number of clips that several models learned and that were made to count once.
    """

    clips: dict[str, float]
    new: tuple[str, ...]
    shared: tuple[str, ...]
    settings: str
    selected: str
    effects: tuple[Effect | None, ...]
    num_kept: int
    notes: tuple[str, ...]
    background: float = 0
    num_twice: int = 0
    num_once: int = 0


def sums_of(model: Model) -> SumsOfViews:
    """The sums of a model's method.

    Raises:
        InputError: If it has none that can be added and solved again.
    """
    sums = sums_of_views(model.method)
    if sums is not None:
        return sums
    names = [name for name, method in METHODS.items() if hasattr(method, "predict_left_out")]
    raise InputError(
        "unsupported",
        f"a model of method {model.method.name} has no sums that can be added and solved again: "
        f"use a model of {' or '.join(names)}",
    )


def merge_models(models: Sequence[Model], settings: str | None = None) -> tuple[Model, Merged]:
    """Merge models; their classes are those of all, and a class that several know is one class.

    Args:
        models: Two or more models of the same closed-form method, called A, B, C, ...
        settings: Whose settings are used: the letter of a model, or ``select`` for a selection by
            the added tallies. None requires that all use the same.

    Returns:
        A new model with the classes of the first one first, and what was merged. The statistics
        are on the device of the first model.

    Raises:
        InputError: If the models cannot be merged, or ``settings`` is unknown or missing.
        RunError: If the ridge solution is singular.
    """
    letters = check_mergeable(models, settings)
    first, sums = models[0], [sums_of(model) for model in models]
    are_same = all(same_settings(sums[0], one) for one in sums[1:])
    if settings is None and not are_same:
        raise InputError("missing-option", _unequal(sums, letters))

    method, parts = copy.deepcopy(first.method), Joined.of(first)
    merged, notes = sums_of(replace(first, method=method)), []
    for letter, model, added in zip(letters[1:], models[1:], sums[1:], strict=True):
        if _is_same(first, model):
            notes.append(
                f"models A and {letter} have equal sums, as if they had learned the same clips: "
                "each of these clips counts twice now"
            )
        groups, num_twice = parts.add(model, letter)
        if num_twice:
            notes.append(
                f"{num_twice} validation clips of model {letter} are stored in another model, too: "
                "training clips that both learned count twice"
            )
        for group in groups:
            method.grow(len(group))
        names = names_in(parts.groups, model)
        place = {name: column for column, name in enumerate(parts.classes)}
        columns = [place[names[name]] for name in model.classes]
        add_sums(merged, added, columns)
        add_tallies(merged, added)
        add_records(merged, added, columns)

    if settings is None:
        fix_settings(method, (name for one in models for name in fixed_settings(one.method)))
    elif settings == SELECT:
        select_again(merged)
    else:
        use_settings_of(merged, sums[letters.index(settings)])
    solving = updatable(method)
    assert solving is not None
    solving.solve()
    model = _with_parts(replace(first, method=method), parts)
    known = set(first.classes)
    report = Merged(
        clips=dict(zip(model.classes, map(counted, merged.class_clips.tolist()), strict=True)),
        new=tuple(name for name in model.classes if name not in known),
        shared=_shared(models, parts),
        settings=settings or "",
        selected=selection_in_words(method),
        effects=tuple(_effect(one, model) for one in models),
        num_kept=0 if model.kept is None else model.kept.num_clips,
        notes=tuple(notes),
        background=counted(merged.num_background),
    )
    return with_change(model, _in_words(models, report)), report


def check_mergeable(models: Sequence[Model], settings: str | None = None) -> str:
    """Check what can be checked before anything is computed.

    Args:
        models: See `merge_models`.
        settings: See `merge_models`.

    Returns:
        The letter of each model.

    Raises:
        InputError: If there are too few or too many models, one has no sums, they are not over the
            same features, or ``settings`` is unknown.
    """
    if not 2 <= len(models) <= len(LETTERS):
        raise InputError(
            "bad-value", f"{len(models)} models were given: name 2 to {len(LETTERS)} of them"
        )
    letters = LETTERS[: len(models)]
    if settings is not None and settings not in (*letters, SELECT):
        raise one_of(settings, (*letters, SELECT), "settings")
    for model in models:
        sums_of(model)
    for letter, model in zip(letters[1:], models[1:], strict=True):
        _check_same(models[0], model, letter)
    return letters


def _check_same(first: Model, other: Model, letter: str) -> None:
    """Refuse models whose sums are not over the same features.

    Raises:
        InputError: Naming what differs.
    """
    mine, theirs = first.method, other.method
    different = ""
    if type(mine) is not type(theirs):
        different = f"methods {mine.name} and {theirs.name}"
    elif first.regime != other.regime:
        different = f"regimes {first.regime} and {other.regime}"
    elif first.backbone != other.backbone:
        different = f"backbones {first.backbone} and {other.backbone}"
    elif first.fingerprint != other.fingerprint:
        different = f"weights of backbone {first.backbone}"
    elif first.spec != other.spec:
        different = f"preprocessing ({first.spec} and {other.spec})"
    elif first.regime != "frozen" and mine.setup.bf16 != theirs.setup.bf16:
        different = "precisions of the encoders (bf16)"
    else:
        different = difference(sums_of(first), sums_of(other))
    if different:
        raise InputError(
            "unsupported",
            f"models A and {letter} cannot be merged, because they have different features, "
            f"options or labels: {different}; train them with the same ones",
        )


def _unequal(sums: Sequence[SumsOfViews], letters: str) -> str:
    return (
        f"models {', '.join(letters)} use different settings ({differing(sums, ' / ')}): say whose "
        f"are used with --settings {'|'.join((*letters, SELECT))}"
    )


def _is_same(first: Model, other: Model) -> bool:
    """Whether two models may have learned the same clips."""
    return first.classes == other.classes and same_sums(sums_of(first), sums_of(other))


def _with_parts(model: Model, parts: Joined) -> Model:
    """The merged model, with a rule for unknown clips that fits all validation clips."""
    kept = parts.kept
    unknown = UnknownRule() if kept is None else kept.unknown_rule(model.method)
    return replace(
        model,
        groups=parts.groups,
        kept=kept,
        changes=parts.changes,
        estimates=parts.estimates,
        unknown=unknown,
        results={},  # those of a run, which are not those of the merged model
    )


def _shared(models: Sequence[Model], parts: Joined) -> tuple[str, ...]:
    """The classes that more than one of the models knew."""
    counts = Counter(name for one in models for name in names_in(parts.groups, one).values())
    return tuple(name for name in parts.classes if counts[name] > 1)


def _effect(before: Model, after: Model) -> Effect | None:
    if before.kept is None:
        return None
    names = names_in(after.groups, before)
    classes = tuple(names[name] for name in before.classes)
    kept = renamed(before.kept, names)
    return measure_effect((before.method, classes), (after.method, after.classes), kept)


def _in_words(models: Sequence[Model], merged: Merged) -> str:
    others = " and ".join(f"one of {len(model.classes)} classes" for model in models[1:])
    parts = [f"merged with {others}"]
    if merged.new:
        parts.append(f"new: {listed(merged.new, 5)}")
    if merged.shared:
        parts.append(f"in several: {listed(merged.shared, 5)}")
    if merged.settings:
        parts.append(f"settings {merged.settings}")
    return ", ".join(parts)
