"""Options that all methods of this package have."""

from __future__ import annotations

from dataclasses import dataclass, field

from cign.layers.fusion import Fusion


@dataclass(frozen=True, kw_only=True)
class MethodOptions:
    """Options of every method.

    Attributes:
        fusion: How the audio-visual prediction is made.
    """

    fusion: Fusion = field(default_factory=Fusion)
