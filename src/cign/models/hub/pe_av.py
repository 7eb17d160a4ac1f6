"""PE-AV (Vyas et al. 2025, arXiv 2512.19687): one network that reads both modalities."""

from __future__ import annotations

import importlib.util

from cign.errors import InputError
from cign.models.backbone import Backbone
from cign.models.hub.loading import Source


def load_pe_av(source: Source, name: str) -> Backbone:
    """Load PE-AV.

    Raises:
        InputError: If timm, which builds its picture network, cannot be imported.
    """
    if importlib.util.find_spec("timm") is None:
        raise InputError(
            f"backbone {name!r} builds its picture network with timm, which cannot be imported "
            "here: install timm and torchvision builds that fit torch, or use VISUAL+AUDIO"
        )
    raise NotImplementedError
