"""What a method is, can do and takes, derived from its class, its options and its recipe."""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
import typing
from dataclasses import dataclass
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from cign.methods.base import Method
from cign.methods.capabilities import is_updatable, stores_sums
from cign.methods.registry import METHODS, default_recipe, method_class
from cign.utils.options import configure

CAPABILITIES: dict[str, str] = {
    "memory": "exemplars of old classes: needs, uses if there are any, or none",
    "replays_everything": "trains on all earlier clips again",
    "regimes": "frozen (cached tokens), end-to-end (trained encoders)",
    "multi_label": "learns clips with several labels",
    "weights": "learns weights of clips and shares of labels",
    "background": "learns clips with none of the classes",
    "add_and_remove": "`cign add` and `cign remove` work without the old clips",
    "merge_and_forget": "`cign merge` and `cign forget` are exact",
    "leave_one_out": "estimates accuracy without test clips (`cign evaluate --loo`)",
    "maps": "localises classes in space and time",
    "stem_tokens": "needs tokens of a stem (`prepare --backbone NAME-stem`)",
    "order_matters": "the result depends on the class order",
    "seed_matters": "the result depends on the seed",
    "refused_streams": "streams that it cannot learn, with the reason",
}


@dataclass(frozen=True, kw_only=True)
class OptionInfo:
    """One option of a method.

    Attributes:
        name: Dotted name, as ``--set`` takes it.
        type: Its type in words, for example ``number or none``.
        allowed: The allowed texts, if it is one of several.
        default: Default of the dataclass.
        value: Value of the recipe, which `cign train` uses.
        meaning: Description.
        source: Where the recipe's value comes from; empty if the recipe does not say.
    """

    name: str
    type: str
    allowed: tuple[Any, ...]
    default: Any
    value: Any
    meaning: str
    source: str


@dataclass(frozen=True, kw_only=True)
class MethodInfo:
    """A method.

    Attributes:
        name: Name, as ``--method`` takes it.
        summary: One sentence.
        about: What it implements, and the paper.
        capabilities: Value of each of `CAPABILITIES`.
        options: Its options, groups last.
    """

    name: str
    summary: str
    about: str
    capabilities: dict[str, Any]
    options: list[OptionInfo]

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return dataclasses.asdict(self)


def list_methods() -> list[str]:
    """Names of all methods, with those of installed packages."""
    return METHODS.names


def describe_method(name: str) -> MethodInfo:
    """Describe a method.

    Args:
        name: Its name, or ``package.module:Class``.

    Raises:
        InputError: If there is no such method.
    """
    cls = method_class(name)
    recipe = default_recipe(name)
    filled: Any = configure(cls.Options, recipe.options, f"recipe of {name}")
    return MethodInfo(
        name=METHODS.reference(cls),
        summary=_paragraphs(cls.__doc__)[0],
        about=" ".join(_paragraphs(sys.modules[cls.__module__].__doc__)[:2]),
        capabilities=_capabilities(cls, filled),
        options=_options_of(cls.Options(), recipe.options, recipe.sources),
    )


def _capabilities(cls: type[Method], options: Any) -> dict[str, Any]:
    """Value of each of `CAPABILITIES` for a method with the options of its recipe."""
    memory = "needs" if cls.needs_memory else "uses" if cls.uses_memory else "none"
    return {
        "memory": memory,
        "replays_everything": cls.replays_everything,
        "regimes": list(cls.regimes),
        "multi_label": cls.supports_multi_label,
        "weights": cls.supports_weights,
        "background": cls.supports_background,
        "add_and_remove": is_updatable(cls),
        "merge_and_forget": stores_sums(cls) and hasattr(cls, "cross"),
        "leave_one_out": hasattr(cls, "predict_left_out"),
        "maps": hasattr(cls, "has_maps"),
        "stem_tokens": cls.needs_blocks,
        "order_matters": cls.depends_on_order(options),
        "seed_matters": cls.seed_matters,
        "refused_streams": dict(cls.refused_streams),
    }


def _options_of(
    defaults: Any,
    recipe: dict[str, Any],
    sources: dict[str, str],
    prefix: str = "",
    group: str = "",
) -> list[OptionInfo]:
    """The options of a dataclass with its defaults; those of nested ones follow."""
    hints, meanings = typing.get_type_hints(type(defaults)), _meanings(type(defaults))
    own: list[OptionInfo] = []
    nested: list[OptionInfo] = []
    for field in dataclasses.fields(defaults):
        default = getattr(defaults, field.name)
        hint, name = hints[field.name], prefix + field.name
        source = " ".join(str(sources.get(name, group)).split())
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            inner = recipe.get(field.name, {})
            nested += _options_of(default, inner, sources, f"{name}.", source)
            continue
        own.append(
            OptionInfo(
                name=name,
                type=_type_text(hint),
                allowed=tuple(_allowed(hint)),
                default=_plain(default),
                value=_plain(recipe.get(field.name, default)),
                meaning=meanings.get(field.name, ""),
                source=source if field.name in recipe else "",
            )
        )
    return own + nested


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _type_text(hint: Any) -> str:
    """A type in words."""
    origin, args = get_origin(hint), get_args(hint)
    if hint is type(None):
        return "none"
    if origin is Literal:
        kinds = dict.fromkeys(type(one).__name__ for one in args)
        return " or ".join(_WORDS.get(kind, kind) for kind in kinds)
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(map(_type_text, args)))
    if origin in (tuple, list):
        return f"list of {_type_text(args[0])}"
    name = getattr(hint, "__name__", str(hint))
    return _WORDS.get(name, name)


_WORDS = {"str": "text", "bool": "true or false", "int": "integer", "float": "number"}


def _allowed(hint: Any) -> list[Any]:
    """The values of the literals in a type."""
    if get_origin(hint) is Literal:
        return list(get_args(hint))
    found = [value for inner in get_args(hint) for value in _allowed(inner)]
    return list(dict.fromkeys(found))


def _meanings(cls: type) -> dict[str, str]:
    """Descriptions in the section ``Attributes`` of a dataclass and those it extends."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        text = inspect.cleandoc(base.__dict__.get("__doc__") or "")
        section = re.search(r"^Attributes:\n((?:[ ]{4}.*\n?|\n)+)", text, re.M)
        if section is None:
            continue
        for entry in re.split(r"^ {4}(?=\w)", section[1], flags=re.M)[1:]:
            name, _, meaning = entry.partition(":")
            found[name.strip()] = " ".join(meaning.split()).replace("``", "`")
    return found


def _paragraphs(text: str | None) -> list[str]:
    """Paragraphs of a docstring, each in one line."""
    parts = [" ".join(part.split()) for part in inspect.cleandoc(text or "").split("\n\n")]
    return [part for part in parts if part] or [""]
