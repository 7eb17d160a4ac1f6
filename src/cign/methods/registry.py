"""Registry of methods of this package, of installed packages and ``package.module:Class``."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from cign.errors import InputError
from cign.methods.base import Method
from cign.utils.options import Recipe, builtin_recipe, read_recipe
from cign.utils.plugins import CONTRACT, Registry

M = TypeVar("M", bound=type[Method])


def _check(what: str, part: Any) -> None:
    """Reject an object that is not a valid method.

    Raises:
        InputError: Names the fault.
    """
    if not (isinstance(part, type) and issubclass(part, Method)):
        raise InputError(
            "plugin-contract",
            f"{what} is not a method: make it a subclass of cign.methods.base.Method",
        )
    if not dataclasses.is_dataclass(getattr(part, "Options", None)):
        raise InputError(
            "plugin-contract", f"{what} has no dataclass Options: add one, it may be empty"
        )
    if missing := sorted(part.__abstractmethods__):
        raise InputError("plugin-contract", f"{what} does not define {', '.join(missing)}: add it")
    if "name" not in vars(part):
        part.name = part.__name__.lower()


METHODS: Registry[type[Method]] = Registry("method", "cign.methods", _check, __package__)


def register_method(name: str, *, contract: int = CONTRACT) -> Callable[[M], M]:
    """Class decorator that registers a method under a name.

    Args:
        name: Name on the command line.
        contract: Version of the interface that the method implements.

    Raises:
        InputError: If the name is taken, the class is not a method, or the contract differs.
    """

    def register(cls: M) -> M:
        cls.name = name
        METHODS.register(name, cls, contract=contract)
        return cls

    return register


def default_recipe(name: str) -> Recipe:
    """The default recipe of a method, or the defaults of its options if it has none.

    For a method of another package it is ``NAME.yaml`` next to the source file of the method. If
    that file is missing and the method has the options of a method that it extends, it is the
    recipe of that method.

    Raises:
        InputError: If there is no such method, or the recipe is invalid.
    """
    cls = method_class(name)
    return _recipe_of(cls, METHODS.reference(cls))


def _recipe_of(cls: type[Method], reference: str) -> Recipe:
    """The recipe of a class, for the method with a reference."""
    if cls.__module__.startswith("cign."):
        return dataclasses.replace(builtin_recipe(cls.name), method=reference)
    file = sys.modules[cls.__module__].__file__
    path = None if file is None else Path(file).with_name(f"{cls.name}.yaml")
    if path is not None and path.is_file():
        return dataclasses.replace(read_recipe(path), method=reference)
    for base in cls.__mro__[1:]:
        if "name" in vars(base) and getattr(base, "Options", None) is cls.Options:
            return dataclasses.replace(_recipe_of(base, reference), tuning={})
    return Recipe(method=reference, name=cls.name)


def method_class(name: str) -> type[Method]:
    """The method class with a name, or given as ``package.module:Class``.

    Raises:
        InputError: If there is no such method, or its module cannot be imported.
    """
    return METHODS.find(name)
