"""Options of closed-form methods: lists of values to select from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch

from cign.errors import InputError, one_of
from cign.methods.adaptation import ADAPTATION
from cign.methods.options import MethodOptions
from cign.methods.phases import TrainingOptions
from cign.methods.selection import Settings
from cign.networks.views import views_of
from cign.utils.options import check_sizes, refuse_ignored

DTYPES = {"float32": torch.float32, "float64": torch.float64}
PRECISIONS = ("bfloat16", *DTYPES)


@dataclass(frozen=True, kw_only=True)
class ClosedFormOptions(MethodOptions):
    """Options of closed-form methods; all values are ours.

    Options that are lists hold the values among which each modality's are selected; the first of
    each is the default, and a list of one value fixes it.

    Attributes:
        width: W, random features of each vector.
        pooling: See `View.pooling`.
        normalisation: See `View.normalisation`, and `views_of` for how it is combined.
        contrast: See `View.contrast`.
        saliency: See `View.saliency`; its values and those of contrast are pairs.
        token_share: s of `TokenStatistics`: 0 fits only whole clips, 1 only single tokens.
        ridge: Ridge strength, added to the diagonal of a Gram matrix.
        assignment_temperature: tau of the assignment of tokens; None (``null``) weights them by
            their saliency alone.
        temperature: Divides the scores, which are about 0..1, before the soft-max.
        count_power: Scores of a class with n_i training clips are multiplied by
            (mean n / n_i)^power; 0 does not correct the low scores of rare classes.
        num_single: Number of tokens per clip that enter the sums singly, the most salient first.
        caution: Standard errors by which another setting has to be better than the default.
        most_selecting: Clips of a task, at most, that are left out to score clips, each counted as
            often as it is left out; the scored clips are taken evenly over classes.
        precision: Precision of products of features: ``bfloat16`` rounds the factors to bfloat16
            and accumulates in float32; the sums over clips and the solution are always in float64.
        projection_seed: Seed of the random projections; independent of the seed of the run.
        batch_size: Clips absorbed at a time.
        adaptation: How encoders are trained on the first task, end to end; see `Adaptation`.
    """

    width: int = 1500
    pooling: tuple[str, ...] = ("tokens",)
    normalisation: tuple[str, ...] = ("layer",)
    contrast: tuple[float, ...] = (0.5, 0.0)
    saliency: tuple[float, ...] = (2.0, 0.0)
    token_share: tuple[float, ...] = (0.2, 0.0)
    ridge: tuple[float, ...] = (20.0, 100.0, 300.0, 1000.0, 3000.0)
    assignment_temperature: tuple[float | None, ...] = (0.3, 0.1, None)
    temperature: tuple[float, ...] = (0.1, 0.05, 0.2)
    count_power: tuple[float, ...] = (0.5, 0.0, 1.0)
    num_single: int = 12
    caution: float = 1.0
    most_selecting: int = 2000
    precision: Literal["bfloat16", "float32", "float64"] = "bfloat16"
    projection_seed: int = 0
    batch_size: int = 256
    adaptation: TrainingOptions = ADAPTATION

    def __post_init__(self) -> None:
        """Reject invalid values."""
        check_sizes(
            self,
            dict.fromkeys(("width", "num_single", "batch_size"), 1)
            | dict.fromkeys(("projection_seed", "most_selecting"), 0),
        )
        if self.precision not in PRECISIONS:
            raise one_of(self.precision, PRECISIONS, "precision")
        for name, low, high in (
            ("token_share", 0.0, 1.0),
            ("ridge", 0.0, 1e30),
            ("assignment_temperature", 1e-6, 1e6),
            ("temperature", 1e-6, 1e6),
            ("count_power", 0.0, 10.0),
            ("caution", 0.0, 1e6),
        ):
            values = getattr(self, name)
            for value in values if isinstance(values, tuple) else (values,):
                if value is not None and not low <= value <= high:
                    raise InputError("bad-value", f"{name} {value} must be in [{low:g}, {high:g}]")
        for name in ("contrast", "saliency"):  # pairs, which `views_of` checks
            if not getattr(self, name):
                raise InputError("bad-value", f"{name} [] must list different values, at least one")
        for name in ("pooling", "normalisation", *_LISTS):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise InputError(
                    "bad-value", f"{name} {list(values)} must list different values, at least one"
                )
        _ = self.settings  # checks the views
        if "tokens" not in self.pooling:
            where = f"pooling {list(self.pooling)}"
            refuse_ignored(self, _OF_TOKENS, where, "add tokens to pooling")

    @property
    def settings(self) -> Settings:
        """The settings to choose from."""
        return Settings(
            views=views_of(
                pooling=self.pooling,
                normalisation=self.normalisation,
                contrast=self.contrast,
                saliency=self.saliency,
            ),
            token_shares=self.token_share,
            ridges=self.ridge,
            assignment_temperatures=tuple(
                math.inf if tau is None else tau for tau in self.assignment_temperature
            ),
            temperatures=self.temperature,
            count_powers=self.count_power,
        )


_OF_TOKENS = ("contrast", "saliency", "token_share", "assignment_temperature", "num_single")
_LISTS = ("token_share", "ridge", "assignment_temperature", "temperature", "count_power")
