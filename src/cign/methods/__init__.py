"""One file per class-incremental method."""

from __future__ import annotations

from cign.errors import one_of
from cign.methods.analytic import Analytic
from cign.methods.av_cil import AvCil
from cign.methods.base import Method
from cign.methods.bic import Bic
from cign.methods.cign import Cign, CignTuned
from cign.methods.cign_analytic import CignAnalytic
from cign.methods.cign_replay import CignReplay
from cign.methods.dualprompt import DualPrompt
from cign.methods.ewc import Ewc, EwcOnline
from cign.methods.finetune import Finetune
from cign.methods.icarl import Icarl
from cign.methods.il2m import Il2m
from cign.methods.joint import Joint
from cign.methods.l2p import L2p
from cign.methods.lwf import Lwf
from cign.methods.podnet import Podnet
from cign.methods.ssil import Ssil

METHODS: dict[str, type[Method]] = {
    method.name: method
    for method in (
        Finetune,
        Joint,
        Cign,
        CignTuned,
        CignAnalytic,
        CignReplay,
        Analytic,
        L2p,
        DualPrompt,
        Bic,
        Ewc,
        EwcOnline,
        Icarl,
        Il2m,
        Lwf,
        AvCil,
        Podnet,
        Ssil,
    )
}

# For those who name none: keeps no clips, learns in seconds, and does not forget.
DEFAULT_METHOD = CignAnalytic.name


def method_class(name: str) -> type[Method]:
    """The method of a name.

    Raises:
        InputError: If there is none.
    """
    if name not in METHODS:
        raise one_of(name, METHODS, "method")
    return METHODS[name]
