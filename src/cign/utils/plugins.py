"""Extensible registries of methods, backbones and formats.

A component is looked up by its registered name, by an entry point of an installed package, or by
``package.module:Name``, in this order.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import pkgutil
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any, Generic, TypeVar

from cign.errors import InputError, one_of, reason_of

T = TypeVar("T")

CONTRACT = 1
"""Version of the plugin interfaces; incremented when one of them changes."""


class Registry(MutableMapping[str, T], Generic[T]):
    """Components of one kind by name.

    Iteration yields the registered names in alphabetical order. Components of entry points are
    imported when they are looked up by name.

    Args:
        kind: Kind of component, for messages, for example ``"method"``.
        group: Group of the entry points.
        check: Raises an error for an object that is not such a component.
        package: Its modules register components when they are imported, before the first look-up.
    """

    def __init__(
        self,
        kind: str,
        group: str,
        check: Callable[[str, Any], None],
        package: str | None = None,
    ) -> None:
        self.kind, self.group = kind, group
        self._check, self._package = check, package
        self._parts: dict[str, T] = {}
        self._is_discovered = False

    # ------------------------------------------------------------- registered

    def register(self, name: str, part: T, *, contract: int = CONTRACT) -> None:
        """Register a component.

        Raises:
            InputError: If the name is taken, or the component was written for another contract.
        """
        if contract != CONTRACT:
            raise InputError(
                "plugin-contract",
                f"{self.kind} {name!r} was written for contract {contract}, but this version of "
                f"cign has contract {CONTRACT}: install matching versions",
            )
        if ":" in name or not name:
            raise InputError(
                "bad-value", f"{self.kind} name {name!r} is invalid: use a name without ':'"
            )
        taken = self._parts.get(name)
        if taken is not None and _origin(taken) != _origin(part):
            raise InputError(
                "name-taken",
                f"{self.kind} name {name!r} is taken by {_origin(taken)}: register "
                f"{_origin(part)} under another name",
            )
        self._check(f"{self.kind} {name!r}", part)
        self._parts[name] = part

    def _all(self) -> dict[str, T]:
        if not self._is_discovered:
            self._is_discovered = True
            if self._package is not None:
                package = importlib.import_module(self._package)
                for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
                    importlib.import_module(module.name)
        return self._parts

    def __getitem__(self, name: str) -> T:
        return self._all()[name]

    def __setitem__(self, name: str, part: T) -> None:
        self._all()[name] = part

    def __delitem__(self, name: str) -> None:
        del self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._all()))

    def __len__(self) -> int:
        return len(self._all())

    # ---------------------------------------------------------------- by name

    @property
    def names(self) -> list[str]:
        """All known names, including those of entry points."""
        found = importlib.metadata.entry_points(group=self.group)
        return list(dict.fromkeys([*self, *(entry.name for entry in found)]))

    def find(self, reference: str) -> T:
        """Find a component by its name or by ``package.module:Name``.

        Raises:
            InputError: If it does not exist or cannot be imported.
        """
        if reference in self._all():
            return self._parts[reference]
        if ":" in reference:
            return self._imported(reference)
        for entry in importlib.metadata.entry_points(group=self.group, name=reference):
            found = self._imported(entry.value)
            self._parts.setdefault(reference, found)
            return found
        raise one_of(reference, self.names, self.kind)

    def _imported(self, reference: str) -> T:
        """The object of ``package.module:Name``."""
        module, _, attribute = reference.partition(":")
        try:
            found: Any = importlib.import_module(module)
            for part in attribute.split("."):
                found = getattr(found, part)
        except InputError:
            raise
        except Exception as error:  # importing a module can raise any exception
            reason = reason_of(error)
            raise InputError(
                "plugin-import",
                f"{self.kind} {reference!r} cannot be imported ({reason}): check the name, and "
                "that its package is installed or its folder is on PYTHONPATH",
            ) from None
        self._check(f"{self.kind} {reference!r}", found)
        part_found: T = found
        return part_found

    def reference(self, part: T) -> str:
        """A reference valid in other processes: the registered name, or ``package.module:Name``."""
        origin = _origin(part)
        for name, known in self._all().items():
            if known is part and origin.startswith("cign."):
                return name
        for entry in importlib.metadata.entry_points(group=self.group):
            if entry.value == origin:
                return entry.name
        return origin


def _origin(part: object) -> str:
    """Where a class or function is defined, as ``package.module:Name``."""
    module = getattr(part, "__module__", type(part).__module__)
    return f"{module}:{getattr(part, '__qualname__', type(part).__qualname__)}"
