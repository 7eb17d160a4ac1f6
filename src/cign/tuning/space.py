"""What a search varies: the axes of a recipe, and those that the user gives."""

from __future__ import annotations

import dataclasses
import difflib
import itertools
import json
import math
import random
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cign.errors import InputError, one_of
from cign.methods import default_recipe, method_class
from cign.methods.catalogue import describe_method
from cign.tuning.axes import Axis, Range, parse_axis
from cign.tuning.bases import BASE, base_options, has_training, shared
from cign.utils.options import Recipe, configure, with_settings

_MOST_DRAWN = 300  # points, before all are checked in order
_MOST_CHECKED = 20_000  # points, about a millisecond each
Point = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Space:
    """The options that a search varies.

    Attributes:
        method: Name of the method.
        recipe: Options of trials in which no base sets others.
        axes: Values of each option by its dotted name; ``base`` has names of bases.
        bases: Sets of options that belong together, by name.
        fixed: Settings ``NAME=VALUE`` of all trials.
        started_with: The base of all trials if the search has only one; empty otherwise.
    """

    method: str
    recipe: Mapping[str, Any]
    axes: Mapping[str, Axis]
    bases: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    fixed: Sequence[str] = ()
    started_with: str = ""

    def options(self, point: Point) -> dict[str, Any]:
        """All options of a trial.

        Args:
            point: A value for each axis.

        Raises:
            InputError: If the method does not accept them together, or there is no such base.
        """
        settings = dict(point)
        base = settings.pop(BASE, self.started_with)
        if base and base not in self.bases:
            raise one_of(base, self.bases, "base")
        # Options of the recipe may have no effect beside those of a base.
        options = self.bases[base] if base else self.recipe
        given = [f"{name}={json.dumps(value)}" for name, value in settings.items()]
        return self.filled(with_settings(options, [*given, *self.fixed]))

    def filled(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Options completed by the method's defaults.

        Raises:
            InputError: If the method does not accept them.
        """
        return dataclasses.asdict(self.configured(options))

    def configured(self, options: Mapping[str, Any]) -> Any:
        """Options as the dataclass of the method.

        Raises:
            InputError: If the method does not accept them.
        """
        return configure(method_class(self.method).Options, options, f"trial of {self.method}")

    def points(self) -> Iterator[Point]:
        """All points of a grid that the method accepts.

        Raises:
            InputError: If an axis is a range.
        """
        for name, axis in self.axes.items():
            if isinstance(axis, Range):
                raise InputError(
                    "conflicting-options",
                    f"--sampler grid needs a list of values for {name}, not a range: give "
                    f"--vary {name}=V1,V2, or use --sampler tpe",
                )
        values = [axis for axis in self.axes.values() if not isinstance(axis, Range)]
        for chosen in itertools.product(*values):
            point = dict(zip(self.axes, chosen, strict=True))
            try:
                self.options(point)
            except InputError:  # some options have an effect only beside others
                continue
            yield point

    def to_dict(self) -> dict[str, Any]:
        """Plain values, by which a search is recognised."""
        values: dict[str, Any] = plain(dataclasses.asdict(self))
        return values


def make_space(
    method: str,
    recipe: Recipe | None = None,
    *,
    memory: str | int | None = None,
    fixed: Sequence[str] = (),
    vary: Sequence[str] = (),
) -> Space:
    """The search space of a method.

    The axes are those under ``tuning`` in the recipe and, if a base sets ``training``, learning
    rate and weight decay (``cign/tuning/shared.yaml``). Axes of ``vary`` are added or replace
    others. What ``fixed`` sets is not varied.

    Args:
        method: Name of the method.
        recipe: Its recipe; None takes the default one.
        memory: Budget of exemplars, on which the options of a recipe may depend.
        fixed: Settings ``NAME=VALUE``.
        vary: Axes ``NAME=V1,V2``, ``NAME=LOW..HIGH`` or ``NAME=LOW..HIGH:log``.

    Raises:
        InputError: If nothing is left to vary, or a setting, a base or an axis is invalid.
    """
    recipe = recipe or default_recipe(method)
    tuning = recipe.tuning
    types = {one.name: one.type for one in describe_method(method).options}
    own = dict(parse_axis(text, types) for text in vary)
    bases = {
        name: base_options(method, name, tuning.get("fixed", {}))
        for name in tuning.get("bases", ())
    }
    held = {setting.partition("=")[0] for setting in fixed}
    _check_names([*held, *own, *tuning.get("axes", {})], [*types, BASE], method)
    names = _accepted(method, bases, fixed)
    axes: dict[str, Axis] = {BASE: tuple(names)} if len(names) > 1 else {}
    if names and has_training(method):
        axes |= {name: tuple(values) for name, values in shared()["axes"].items()}
    axes |= {name: tuple(values) for name, values in tuning.get("axes", {}).items()}
    axes = {name: axis for name, axis in (axes | own).items() if name not in held}
    if not axes:
        raise InputError(
            "missing-option",
            f"the recipe of {method} names nothing to vary under tuning: give --vary, for example "
            "--vary training.learning_rate=1e-4..1e-2:log",
        )
    space = Space(
        method=method,
        recipe=recipe.options_for(memory),
        axes=axes,
        bases=bases,
        fixed=tuple(fixed),
        started_with=names[0] if len(names) == 1 else "",
    )
    return _with_accepted_values(space, own)


def _accepted(
    method: str, bases: Mapping[str, Mapping[str, Any]], fixed: Sequence[str]
) -> list[str]:
    """The bases beside which the method accepts the fixed settings.

    Raises:
        InputError: Why it does not accept them beside the first base, if beside none.
    """
    accepted, refusal = [], None
    for name in bases:
        space = Space(
            method=method, recipe={}, axes={}, bases=bases, fixed=fixed, started_with=name
        )
        try:
            space.options({})
        except InputError as error:
            refusal = refusal or error
        else:
            accepted.append(name)
    if refusal is not None and not accepted:
        raise refusal
    return accepted


def _check_names(given: Sequence[str], known: Sequence[str], method: str) -> None:
    """Refuse options that the method does not have.

    Raises:
        InputError: Names the first of them.
    """
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"see `cign methods {method}`"
            raise InputError("unknown-name", f"{method} has no option {name!r}: {hint}")


def _with_accepted_values(space: Space, own: Collection[str]) -> Space:
    """The space without values that the method accepts beside no others.

    Raises:
        InputError: Why the method does not accept the first of them that the user gave, or the
            first of all if an axis has no other value.
    """
    values = {
        name: (axis.low, axis.high) if isinstance(axis, Range) else axis
        for name, axis in space.axes.items()
    }
    if math.prod(map(len, values.values())) > _MOST_CHECKED:
        return space
    refusals: dict[tuple[str, str], InputError] = {}
    accepted: set[tuple[str, str]] = set()
    wanted = {(name, repr(value)) for name, some in values.items() for value in some}
    draws = random.Random(0)
    some_points = ([draws.choice(some) for some in values.values()] for _ in range(_MOST_DRAWN))
    for chosen in itertools.chain(some_points, itertools.product(*values.values())):
        if accepted == wanted:  # soon, unless a value is accepted beside few others or none
            break
        pairs = [(name, repr(value)) for name, value in zip(values, chosen, strict=True)]
        try:
            space.options(dict(zip(values, chosen, strict=True)))
        except InputError as error:
            for pair in pairs:
                refusals.setdefault(pair, error)
        else:
            accepted.update(pairs)
    axes: dict[str, Axis] = {}
    for name, axis in space.axes.items():
        left = tuple(value for value in values[name] if (name, repr(value)) in accepted)
        lost = [value for value in values[name] if value not in left]
        if lost and (name in own or not left):
            raise refusals[name, repr(lost[0])]
        axes[name] = axis if isinstance(axis, Range) else left
    return dataclasses.replace(space, axes=axes)


def plain(value: Any) -> Any:
    """Options as JSON and YAML hold them: with lists in place of tuples."""
    if isinstance(value, Mapping):
        return {name: plain(one) for name, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, list | tuple) else value
