"""Registry of backbones by name, of this package and of others.

All other names are hub names or folders, see `cign.backbones.registry`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from cign.backbones.base import Backbone
from cign.errors import InputError
from cign.utils.plugins import CONTRACT, Registry


class BackboneFactory(Protocol):
    """Builds a backbone; a subclass of `Backbone` is one if its constructor takes ``weights``."""

    def __call__(self, *, weights: bool) -> Backbone:
        """Build it.

        Args:
            weights: False builds the network without weights, which are loaded afterwards.
        """


F = TypeVar("F", bound=BackboneFactory)


def _check(what: str, part: Any) -> None:
    """Reject an object that cannot build a backbone.

    Raises:
        InputError: If it cannot be called.
    """
    if not callable(part):
        raise InputError(
            "plugin-contract", f"{what} is not a backbone: register a function or a class"
        )


BACKBONES: Registry[BackboneFactory] = Registry("backbone", "cign.backbones", _check, __package__)


def register_backbone(name: str, *, contract: int = CONTRACT) -> Callable[[F], F]:
    """Decorator that registers a function, or a subclass of `Backbone`, under a name.

    Args:
        name: Name on the command line; without ``+``, ``@``, ``:`` and ``/``.
        contract: Version of the interface that the backbone implements.

    Raises:
        InputError: If the name is taken or invalid, or the contract differs.
    """

    def register(factory: F) -> F:
        if any(mark in name for mark in "+@/"):
            raise InputError(
                "bad-value", f"backbone name {name!r} is invalid: use one without +, @ and /"
            )
        BACKBONES.register(name, factory, contract=contract)
        return factory

    return register


def build_registered(name: str, *, weights: bool) -> Backbone:
    """Build the backbone of a registered name, an entry point, or ``package.module:Name``.

    Raises:
        InputError: If there is no such backbone, it cannot be imported, or it is not a backbone.
    """
    backbone: object = BACKBONES.find(name)(weights=weights)
    if not isinstance(backbone, Backbone):
        raise InputError(
            "plugin-contract",
            f"backbone {name!r} returns a {type(backbone).__name__}: it must return a "
            "cign.backbones.base.Backbone",
        )
    backbone.name = name
    return backbone
