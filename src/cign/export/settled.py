"""What a method makes of its weights alone, made once, as a file for other programs holds it."""

from __future__ import annotations

from torch import Tensor

from cign.methods.base import Method
from cign.methods.il2m import Il2m


def settle(method: Method) -> None:
    """Put constants in place of what a method computes from its state at every call.

    The factors of `il2m` are made with sizes that are read from a tensor, which no tracer follows.

    Args:
        method: Is changed; it must not learn on.
    """
    if isinstance(method, Il2m):
        factors = method.factors().clone()

        def settled() -> Tensor:
            return factors

        method.factors = settled  # type: ignore[method-assign]
