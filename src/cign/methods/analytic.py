"""Ridge regression on random features of pooled frozen tokens, in closed form and without memory.

ACIL (Zhuang et al., NeurIPS 2022), RanPAC (McDonnell et al., NeurIPS 2023), for audio-visual data
MMAL (ACM MM 2024). It is `cign_analytic` without tokens and assignment; its settings are selected
from the clips in the same way. docs/methods/analytic.md lists what is theirs and what is ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from cign.errors import InputError
from cign.methods.closed_form import ClosedForm
from cign.methods.closed_form_options import ClosedFormOptions
from cign.methods.registry import register_method


@dataclass(frozen=True, kw_only=True)
class AnalyticOptions(ClosedFormOptions):
    """Options of `analytic`: see `ClosedFormOptions`; those of single tokens have one value."""

    width: int = 2000
    pooling: tuple[str, ...] = ("mean", "statistics")
    contrast: tuple[float, ...] = (0.0,)
    saliency: tuple[float, ...] = (0.0,)
    token_share: tuple[float, ...] = (0.0,)
    assignment_temperature: tuple[float | None, ...] = (None,)
    count_power: tuple[float, ...] = (0.0, 0.5, 1.0)
    precision: Literal["bfloat16", "float32", "float64"] = "float64"

    def __post_init__(self) -> None:
        """Reject invalid values, and single tokens."""
        super().__post_init__()
        if "tokens" in self.pooling:
            raise InputError(
                "bad-value",
                "analytic pools tokens: use pooling mean or statistics, or cign_analytic",
            )


@register_method("analytic")
class Analytic(ClosedForm):
    """One pass over each task's clips, then one ridge solution for each modality."""

    Options: ClassVar[type] = AnalyticOptions
    options: AnalyticOptions
