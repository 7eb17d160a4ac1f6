"""One file per class-incremental method."""

from __future__ import annotations

from cign.errors import one_of
from cign.methods.analytic import Analytic
from cign.methods.base import Method
from cign.methods.cign import Cign, CignTuned
from cign.methods.finetune import Finetune
from cign.methods.joint import Joint

METHODS: dict[str, type[Method]] = {
    method.name: method for method in (Finetune, Joint, Cign, CignTuned, Analytic)
}


def method_class(name: str) -> type[Method]:
    """The method of a name.

    Raises:
        InputError: If there is none.
    """
    if name not in METHODS:
        raise one_of(name, METHODS, "method")
    return METHODS[name]
