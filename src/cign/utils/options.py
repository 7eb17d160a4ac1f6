"""Options from recipes: typed dataclasses filled from plain values; unknown names are errors."""

from __future__ import annotations

import copy
import dataclasses
import difflib
import re
import typing
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import yaml

from cign.errors import InputError

T = TypeVar("T")


def configure(cls: type[T], values: Mapping[str, Any], where: str) -> T:
    """Fill a dataclass from a mapping; nested dataclasses from nested mappings.

    Args:
        cls: The dataclass.
        values: Names and values; missing names have their defaults.
        where: Name of the source, for error messages.

    Raises:
        InputError: If a name is unknown or a value is of the wrong type.
    """
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    filled: dict[str, Any] = {}
    for name, value in values.items():
        if name not in fields:
            near = difflib.get_close_matches(str(name), fields, n=1)
            hint = f"did you mean {near[0]!r}? It" if near else "it"
            raise InputError(
                "unknown-name",
                f"{where} has an unknown option {name!r}: {hint} takes {', '.join(fields)}",
            )
        hint_type = hints[name]
        if dataclasses.is_dataclass(hint_type) and isinstance(hint_type, type):
            if not isinstance(value, Mapping):
                raise InputError("bad-value", f"{where}: {name} must hold options, not {value!r}")
            default = _default(fields[name])
            # A recipe that sets one option of a group uses the defaults of the others.
            merged = {**(dataclasses.asdict(default) if default is not None else {}), **value}
            filled[name] = configure(hint_type, merged, f"{where}: {name}")
        else:
            filled[name] = _checked(value, hint_type, f"{where}: {name}")
    return cls(**filled)


def _default(field: dataclasses.Field[Any]) -> Any:
    """The default of a field, or None if it has none."""
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return None if field.default is dataclasses.MISSING else field.default


def _checked(value: Any, hint: Any, where: str) -> Any:
    """Check a value against a type: numbers, text, literals, optionals and tuples of these."""
    origin, args = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin is Literal:
        if value in args:
            return value
        raise InputError(
            "unknown-name", f"{where} is {value!r}: use one of {', '.join(map(str, args))}"
        )
    if origin in (Union, UnionType):
        if value is None and type(None) in args:
            return None
        return _checked(value, next(arg for arg in args if arg is not type(None)), where)
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_checked(item, args[0], where) for item in value)
    if origin is dict and isinstance(value, Mapping):
        return {_checked(k, args[0], where): _checked(v, args[1], where) for k, v in value.items()}
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is float and isinstance(value, str):
        try:
            return float(value)  # YAML reads 1e-4 as text
        except ValueError:
            pass
    is_stray_bool = isinstance(value, bool) and hint is not bool  # True is an int to Python
    if isinstance(hint, type) and isinstance(value, hint) and not is_stray_bool:
        return value
    expected = getattr(hint, "__name__", str(hint))
    raise InputError("bad-value", f"{where} is {value!r}: it must be of type {expected}")


def with_settings(options: Mapping[str, Any], settings: Sequence[str]) -> dict[str, Any]:
    """Options with some values changed.

    Args:
        options: Options of a recipe; they are not modified.
        settings: ``NAME=VALUE`` with the value in YAML; an option of a group is ``GROUP.NAME``.

    Raises:
        InputError: If a setting has another form. Unknown names are refused by `configure`.
    """
    changed = copy.deepcopy(dict(options))
    for setting in settings:
        name, separator, text = setting.partition("=")
        *groups, last = name.split(".")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            separator = ""
        if not separator or not all((*groups, last)):
            raise InputError(
                "bad-value",
                f"setting {setting!r} is invalid: use NAME=VALUE, for example "
                "training.learning_rate=0.001",
            )
        group = changed
        for part in groups:
            inner = group.setdefault(part, {})
            if not isinstance(inner, dict):
                raise InputError(
                    "bad-value", f"setting {setting!r}: {part} is one value, not a group"
                )
            group = inner
        group[last] = value
    return changed


def check_sizes(options: object, least: dict[str, int]) -> None:
    """Check lower bounds of numbers.

    Args:
        options: Object with the numbers as attributes.
        least: Lower bound of each number.

    Raises:
        InputError: Naming the first number that is too small.
    """
    for name, low in least.items():
        number = getattr(options, name)
        if number < low:
            raise InputError("bad-value", f"{name} {number} is too small: use {low} or more")


def check_positive(options: object, names: Sequence[str]) -> None:
    """Check that numbers are positive.

    Raises:
        InputError: Naming the first that is not.
    """
    for name in names:
        if not getattr(options, name) > 0:
            raise InputError(
                "bad-value",
                f"{name} {getattr(options, name)} is not positive: use, for example, 0.1",
            )


def refuse_ignored(options: Any, names: Sequence[str], where: str, remedy: str) -> None:
    """Refuse options that are set but have no effect.

    Args:
        options: A dataclass instance.
        names: Options without effect; only their defaults are allowed.
        where: The reason, for example ``"trunk linear"``.
        remedy: What to change to make the option effective.

    Raises:
        InputError: If one of them is not at its default.
    """
    defaults = {field.name: _default(field) for field in dataclasses.fields(options)}
    for name in names:
        value = getattr(options, name)
        if value != defaults[name]:
            raise InputError(
                "conflicting-options",
                f"{name} is {value} but has no effect with {where}: leave {name} out, or {remedy}",
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """Contents of a recipe file.

    Attributes:
        method: Name of the method.
        options: Options of the method.
        with_memory: Those of them that are different in runs with exemplars.
        sources: Source of each value; documentation that the program ignores.
        tuning: How the options were tuned: ``memory``, the budgets of exemplars, each of which is
            tuned; ``bases``, sets of options; and ``axes``, values of further options, the first of
            which is where the search of `benchmarks/tune.py` starts. Runs ignore it; `cign tune`
            and `benchmarks/tune.py` vary what it names.
        name: File or built-in recipe it was read from.
    """

    method: str
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    with_memory: dict[str, Any] = dataclasses.field(default_factory=dict)
    sources: dict[str, str] = dataclasses.field(default_factory=dict)
    tuning: dict[str, Any] = dataclasses.field(default_factory=dict)
    name: str = ""

    def options_for(self, memory: str | int | None) -> dict[str, Any]:
        """The options of runs with a budget of exemplars; None and ``0`` are none."""
        if memory is None or re.match(r"\s*0+(?!\d)", str(memory)):
            return dict(self.options)
        return merged(self.options, self.with_memory)


def merged(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    """Merge two mappings recursively; ``high`` takes precedence."""
    result = dict(low)
    for key, value in high.items():
        nested = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = merged(result[key], value) if nested else value
    return result


def leaves(options: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested options by their dotted names; tuples as lists."""
    found: dict[str, Any] = {}
    for name, value in options.items():
        if isinstance(value, Mapping):
            found |= leaves(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = list(value) if isinstance(value, tuple) else value
    return found


def read_recipe(path: Path) -> Recipe:
    """Read a recipe from a YAML file.

    Raises:
        InputError: If it cannot be read or has unknown entries.
    """
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            "file-unreadable", f"recipe {path} cannot be read ({reason}): check the path"
        ) from None
    return _recipe(value, str(path))


def builtin_recipe(method: str) -> Recipe:
    """The built-in recipe of a method; the method's defaults if there is none."""
    file = resources.files("cign") / "recipes" / f"{method}.yaml"
    if not file.is_file():
        return Recipe(method=method, name=method)
    return _recipe(yaml.safe_load(file.read_text(encoding="utf-8")), f"recipes/{method}.yaml")


def _recipe(value: Any, name: str) -> Recipe:
    if not isinstance(value, dict) or not isinstance(value.get("method"), str):
        raise InputError("wrong-format", f"recipe {name} must be a mapping with at least 'method'")
    for group in ("options", "with_memory", "sources", "tuning"):
        if not isinstance(value.get(group, {}), dict):
            raise InputError("wrong-format", f"recipe {name}: {group} must be a mapping")
    _check_tuning(value.get("tuning", {}), name)
    return configure(Recipe, {**value, "name": name}, f"recipe {name}")


def _check_tuning(tuning: Mapping[str, Any], name: str) -> None:
    """Check that bases and axes are lists.

    Raises:
        InputError: Names the first that is not.
    """
    axes = tuning.get("axes", {})
    if not isinstance(axes, dict):
        raise InputError("wrong-format", f"recipe {name}: axes under tuning must be a mapping")
    for what, values in {"bases": tuning.get("bases", []), **axes}.items():
        if not isinstance(values, list):
            raise InputError(
                "wrong-format", f"recipe {name}: {what} under tuning is {values!r}: give a list"
            )
