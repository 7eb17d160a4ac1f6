"""Operations on the sums of closed-form methods: add those of two models, use other settings.

Sums over clips of two models add up to the sums over the clips of both (`TokenStatistics`), so that
the solution is that of all clips at once, given the settings. The tallies of the selection are
added, too, which is approximate: each model measured its losses with its own classes and clips
alone. A solution with other settings needs only the sums. Adding sums of features over clips is
that of RanPAC (McDonnell et al., NeurIPS 2023, section 3), there task by task; doing so for two
models, and the tallies, are ours.

Legend: C classes, W width of the random features.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch

from cign.errors import InputError, one_of
from cign.methods.base import Method
from cign.methods.closed_form_options import ClosedFormOptions
from cign.methods.left_out import SumsOfViews
from cign.methods.modality_ridge import ModalityRidge
from cign.methods.selection import Setting
from cign.networks.training_state import inference_state
from cign.networks.triangles import packed
from cign.networks.views import View
from cign.utils.options import configure
from cign.utils.wording import value_text
from cign.vocabulary import UNIMODAL

# Options that may differ: how clips are read, settings compared, and both modalities fused.
_FREE = ("fusion", "caution", "most_selecting", "batch_size", "adaptation")
_OF_VIEW = ("pooling", "normalisation", "contrast", "saliency")
_OF_TOKENS = ("contrast", "saliency", "token_share", "assignment_temperature")
_OF_SOLUTION = ("token_share", "ridge", "assignment_temperature", "temperature", "count_power")
SETTING_NAMES = (*_OF_VIEW, *_OF_SOLUTION)
"""The settings of a modality, by the names of the options that list their values."""


# ------------------------------------------------------------------------ add


def difference(one: SumsOfViews, other: SumsOfViews) -> str:
    """Why the sums of two methods cannot be added; empty if they can.

    Args:
        one: A method.
        other: A method of the same class.
    """
    mine, theirs = (asdict(method.options) | _measured(method) for method in (one, other))
    for name, value in mine.items():
        if name not in _FREE and value != theirs[name]:
            return f"{name} {value_text(value)} and {value_text(theirs[name])}"
    singles = [any(method.options.token_share) for method in (one, other)]
    if singles[0] != singles[1]:
        return "sums with and without single tokens"
    for name in ("shape", "multi_label"):
        first, second = getattr(one.setup, name), getattr(other.setup, name)
        if first != second:
            if name == "shape":
                return f"tokens of {_shown_shape(first)} and of {_shown_shape(second)}"
            kinds = {False: "one label per clip", True: "several labels per clip"}
            return f"{kinds[first]} and {kinds[second]}"
    return "" if _same_encoders(one, other) else "encoders that were trained on different clips"


def add_sums(one: SumsOfViews, other: SumsOfViews, columns: Sequence[int]) -> None:
    """Add the sums over clips of another method, in place; the solution stays as it is.

    Args:
        one: The method that is changed; it knows all classes of the other one.
        other: A method without `difference`.
        columns: Index in ``one`` of each class of ``other``.
    """
    device = one.class_clips.device
    where = torch.tensor(list(columns), dtype=torch.int64, device=device)
    for modality in UNIMODAL:
        for view in one.options.settings.views:
            sums = one.of(modality).statistics_of(view)
            sums.add(other.of(modality).statistics_of(view), where)
    one.class_clips = one.class_clips.index_add(0, where, other.class_clips.to(device))
    one.count_background(other.num_background)


def add_tallies(one: SumsOfViews, other: SumsOfViews) -> None:
    """Add the losses by which settings are selected, in place; the selection stays as it is.

    The sum is approximate, see above. Values that were set by hand in only one of the methods are
    listed in the sum; no clip was measured with them, and they are not selected.

    Args:
        one: The method that is changed.
        other: A method without `difference`.
    """
    lists: dict[str, Any] = {}
    for name in _OF_SOLUTION:
        own, more = getattr(one.options, name), getattr(other.options, name)
        lists[name] = (*own, *(value for value in more if value not in own))
    _use_options(one, replace(one.options, **lists))
    places = _places(one, other)
    for modality in UNIMODAL:
        mine, theirs = one.of(modality), other.of(modality)
        for name in ("losses", "squares"):
            own = getattr(mine, name)
            more = own.new_full(own.shape, torch.inf)
            more[np.ix_(*places)] = getattr(theirs, name).to(own)
            setattr(mine, name, own + more)
        mine.evidence = mine.evidence + theirs.evidence.to(mine.evidence)


def add_records(one: SumsOfViews, other: SumsOfViews, columns: Sequence[int]) -> None:
    """Add the records of another method's clips, in place.

    Args:
        one: The method that is changed, to which the other's tallies were added.
        other: The other one.
        columns: See `add_sums`.
    """
    where = torch.tensor(list(columns), dtype=torch.int64)
    one.records.join(other.records, where, _places(one, other))


def _places(one: SumsOfViews, other: SumsOfViews) -> list[Sequence[int]]:
    """For each option of the settings, where its values in ``other`` stand in ``one``."""
    places: list[Sequence[int]] = [range(len(one.options.settings.views))]
    for name in _OF_SOLUTION:
        values = getattr(one.options, name)
        places.append([values.index(value) for value in getattr(other.options, name)])
    return places


def same_sums(one: SumsOfViews, other: SumsOfViews) -> bool:
    """Whether the sums of two methods are equal, as if they had learned the same clips."""
    for modality in UNIMODAL:
        mine, theirs = (
            packed(dict(m.of(modality).statistics.named_buffers())) for m in (one, other)
        )
        if mine.keys() != theirs.keys() or not all(
            torch.equal(sums, theirs[name].to(sums.device)) for name, sums in mine.items()
        ):
            return False
    return True


def _measured(method: SumsOfViews) -> dict[str, tuple[float | None, ...]]:
    """The values of each list without those that were set by hand, which no clip was measured with.

    A value with which every system was singular counts as one of those.
    """
    finite = torch.stack([method.of(m).losses.isfinite().cpu() for m in UNIMODAL]).any(dim=0)
    found = {}
    for axis, name in enumerate(_OF_SOLUTION, start=1):
        values = getattr(method.options, name)
        has = finite.movedim(axis, 0).flatten(1).any(dim=1).tolist()
        found[name] = tuple(value for value, one in zip(values, has, strict=True) if one)
    return found


def _same_encoders(one: SumsOfViews, other: SumsOfViews) -> bool:
    mine, theirs = (
        {name: x for name, x in inference_state(method).items() if name.startswith("adaptation.")}
        for method in (one, other)
        if isinstance(method, Method)
    )
    return mine.keys() == theirs.keys() and all(
        torch.equal(x, theirs[name].to(x.device)) for name, x in mine.items()
    )


def _shown_shape(shape: Any) -> str:
    return (
        f"{shape.num_audio_tokens} x {shape.audio_dim} (audio), "
        f"{shape.num_visual_tokens} x {shape.visual_dim} (visual)"
    )


# ------------------------------------------------------------------- settings


def same_settings(one: SumsOfViews, other: SumsOfViews) -> bool:
    """Whether two methods use the same settings in both modalities, and the same fusion."""
    return one.options.fusion == other.options.fusion and all(
        one.of(modality).setting == other.of(modality).setting for modality in UNIMODAL
    )


def use_settings_of(one: SumsOfViews, other: SumsOfViews) -> None:
    """Use the settings and other options of another method, in place; call `solve` after it.

    Args:
        one: The method that is changed, to which the other's tallies were added.
        other: The other one.
    """
    lists = {name: getattr(one.options, name) for name in _OF_SOLUTION}
    _use_options(one, replace(other.options, **lists))
    for modality in UNIMODAL:
        mine, theirs = one.of(modality), other.of(modality)
        mine.use(mine.settings.number_of(theirs.setting))
        mine.fixed = theirs.fixed


def select_again(one: SumsOfViews) -> None:
    """Select the settings by the tallies, in place; call `solve` after it."""
    for modality in UNIMODAL:
        one.of(modality).fixed = False
        one.of(modality).choose()


def change_settings(one: SumsOfViews, modality: str, values: Mapping[str, Any]) -> None:
    """Use other settings of a modality until they are changed again, in place.

    Values that the options do not list are added to these lists. No clip was measured with them, so
    that they are never selected. Call `solve` after it.

    Args:
        one: A method.
        modality: ``audio`` or ``visual``.
        values: Of `SETTING_NAMES`.

    Raises:
        InputError: If a name or value is invalid, has no effect, or needs sums that are not stored.
    """
    ridge, options = one.of(modality), one.options
    for name in values:
        if name not in SETTING_NAMES:
            raise one_of(name, SETTING_NAMES, "setting")
    checked = configure(
        type(options), {name: [value] for name, value in values.items()}, "the settings"
    )
    values = {name: getattr(checked, name)[0] for name in values}
    setting = _changed(ridge, modality, values)
    lists = {name: getattr(options, name) for name in _OF_SOLUTION}
    for name in values.keys() & lists.keys():
        if values[name] not in lists[name]:
            lists[name] = (*lists[name], values[name])
    _use_options(one, replace(options, **lists))
    ridge.use(ridge.settings.number_of(setting))
    ridge.fixed = True


def _changed(ridge: ModalityRidge, modality: str, values: Mapping[str, Any]) -> Setting:
    """The setting of a modality with other values."""
    old, settings = ridge.setting, ridge.settings
    view = replace(old.view, **{name: values[name] for name in _OF_VIEW if name in values})
    if not view.has_tokens:
        if useless := [name for name in _OF_TOKENS if name in values]:
            raise InputError(
                "conflicting-options",
                f"{modality}.{useless[0]} has no effect with pooling {view.pooling}: leave it out",
            )
        view = replace(view, contrast=0.0, saliency=0.0)
    if view not in settings.views:
        raise InputError(
            "unsupported",
            f"the model has no sums of {modality} with {_described(view)}: use one of "
            + "; ".join(map(_described, settings.views)),
        )
    # Of a view without tokens these two are placeholders, see `Settings`.
    share, tau = old.token_share, old.assignment_temperature
    if view.has_tokens and not old.view.has_tokens:
        share, tau = settings.token_shares[0], settings.assignment_temperatures[0]
    share = values.get("token_share", share)
    if share > 0 and not any(settings.token_shares):
        raise InputError(
            "unsupported",
            f"{modality}.token_share {share:g} needs sums over single tokens, which the model does "
            "not have: use 0",
        )
    if "assignment_temperature" in values:
        given = values["assignment_temperature"]
        tau = math.inf if given is None else given
    rest = {
        name: values[name] for name in ("ridge", "temperature", "count_power") if name in values
    }
    return replace(old, view=view, token_share=share, assignment_temperature=tau, **rest)


def _described(view: View) -> str:
    names = _OF_VIEW if view.has_tokens else _OF_VIEW[:2]
    return ", ".join(f"{name} {value_text(getattr(view, name))}" for name in names)


def _use_options(one: SumsOfViews, options: ClosedFormOptions) -> None:
    """Use options with the same views, whose lists of values start with those used before."""
    one.options = options
    if isinstance(one, Method):
        one.fusion = options.fusion
    for modality in UNIMODAL:
        one.of(modality).extend(options)
        one.records.extend(modality, options.settings.shape)
