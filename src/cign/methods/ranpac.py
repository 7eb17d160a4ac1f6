"""Ridge regression on random ReLU features, with a ridge strength selected in every task.

RanPAC: McDonnell, Gong, Parvaneh, Abbasnejad & van den Hengel, NeurIPS 2023. The Gram matrix of the
features is kept as a thin factor while there are fewer clips than features, which gives the same
solutions (`cign.networks.thin_factor`). docs/methods/ranpac.md lists what is ours.

Legend: n clips of a task, C classes, M random features, D width of the features of a modality.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cign.errors import InputError
from cign.methods.base import Setup, TaskData
from cign.methods.pooled import Pooled, PooledOptions
from cign.methods.registry import register_method
from cign.networks.ridge import RandomFeatures
from cign.networks.thin_factor import ThinFactors, ridge_errors, ridge_solution, thin_factor
from cign.networks.token_ridge import with_columns, without_entry
from cign.utils.options import check_sizes
from cign.utils.seeding import stream
from cign.vocabulary import MODALITIES, UNIMODAL

HELD_OUT = 0.2
"""Share of a task's clips on which ridge strengths are compared (paper, section 4.3)."""
_HELD_OUT_KEY = 0x4A17

POWERS = tuple(10.0**power for power in range(-8, 9))


@dataclass(frozen=True, kw_only=True)
class RanpacOptions(PooledOptions):
    """Options of `ranpac`.

    Attributes:
        width: M, random features of each modality and of both; 10,000 in the paper.
        ridge: Ridge strengths to choose from; the paper's are 10^-8 to 10^8.
        temperature: Divides the scores, which are about 0..1, before the soft-max; ours.
        projection_seed: Seed of the random projections and of the clips that are held out;
            independent of the seed of the run.
    """

    width: int = 10_000
    ridge: tuple[float, ...] = POWERS
    temperature: float = 0.1
    projection_seed: int = 0

    def __post_init__(self) -> None:
        """Reject invalid values."""
        super().__post_init__()
        check_sizes(self, {"width": 1, "projection_seed": 0})
        if not self.ridge or len(set(self.ridge)) < len(self.ridge):
            raise InputError(
                "bad-value", f"ridge {list(self.ridge)} must list different values, at least one"
            )
        for value in self.ridge:
            if not 0.0 < value <= 1e30:
                raise InputError("bad-value", f"ridge {value} must be in (0, 1e+30]")


class RidgeFactor(ThinFactors):
    """Factor of the Gram matrix of a modality, and the ridge solution.

    Args:
        width: M.
        num_ridges: Number of ridge strengths.

    Attributes:
        chosen: Number of the selected ridge strength.
        weights: The solution, shape [M, C].
    """

    chosen: Tensor
    weights: Tensor

    def __init__(self, width: int, num_ridges: int) -> None:
        super().__init__(width, 1)
        # Until clips were held out, the one in the middle.
        self.register_buffer("chosen", torch.tensor(num_ridges // 2))
        self.register_buffer("weights", torch.zeros(width, 0))


@register_method("ranpac")
class Ranpac(Pooled):
    """Gram matrix and class sums of random features, and one ridge solution per modality.

    The sums are exact for any order and number of tasks; the ridge strength is that of the last
    task. Clips may have several labels: targets are 0 or 1 for each class.
    """

    Options: ClassVar[type] = RanpacOptions
    options: RanpacOptions
    refused_streams: ClassVar[Mapping[str, str]] = {
        "online": "it adds clips to its factors after the task, reading them again: use --stream "
        "tasks, or another method, for example slda",
    }

    def __init__(self, setup: Setup, options: RanpacOptions) -> None:
        super().__init__(setup, options)
        self.projections = nn.ModuleDict(
            {
                modality: RandomFeatures(
                    self.dims[modality], options.width, seed=options.projection_seed, number=number
                )
                for number, modality in enumerate(UNIMODAL)
            }
        )
        self.factors = nn.ModuleDict(
            {modality: RidgeFactor(options.width, len(options.ridge)) for modality in MODALITIES}
        )

    @classmethod
    def depends_on_order(cls, options: Any) -> bool:
        """See `Method`: the sums do not, but the ridge strength is selected in the last task."""
        return len(options.ridge) > 1

    @classmethod
    def least_weights(cls, options: Mapping[str, Any], shape: Mapping[str, Any]) -> tuple[str, int]:
        """See `Method`; the random projections alone have M x D values."""
        width, dim = options.get("width"), max(shape["audio_dim"], shape["visual_dim"])
        if not isinstance(width, int):
            return "", 0
        return f"width {width:.3g} at tokens of width {dim}", width * dim

    def width_of(self, modality: str) -> int:
        """See `Pooled`: M."""
        return int(self.options.width)

    def of(self, modality: str) -> RidgeFactor:
        """Factor and solution of a modality."""
        found = self.factors[modality]
        assert isinstance(found, RidgeFactor)
        return found

    def ridge_strength(self, modality: str) -> float:
        """The selected ridge strength of a modality."""
        number = int(self.of(modality).chosen)
        if not 0 <= number < len(self.options.ridge):
            raise InputError(
                "damaged",
                f"the weights choose ridge strength {number} of {len(self.options.ridge)}: restore "
                "or recreate them",
            )
        return float(self.options.ridge[number])

    @property
    def selected(self) -> dict[str, dict[str, Any]]:
        """The selected ridge strength of each modality; empty if there is nothing to select."""
        if len(self.options.ridge) == 1:
            return {}
        return {modality: {"ridge": self.ridge_strength(modality)} for modality in MODALITIES}

    def grow(self, num_new: int) -> None:
        """See `Pooled`."""
        for modality in MODALITIES:
            one = self.of(modality)
            one.weights = with_columns(one.weights, num_new)
        super().grow(num_new)

    def rows(self, modality: str, features: Tensor) -> Tensor:
        """Random features relu(P x) of layer-normalised x, shape [B, M].

        Both modalities use relu((P_a x_a + P_v x_v) / sqrt(2)): a projection of both side by side,
        in which each has the same variance (ours).

        Args:
            modality: One of `MODALITIES`.
            features: Pooled tokens, shape [B, D].
        """
        names = UNIMODAL if modality == "audio_visual" else (modality,)
        projected = []
        for name, part in zip(
            names, features.split([self.dims[name] for name in names], dim=1), strict=True
        ):
            random = self.projections[name]
            assert isinstance(random, RandomFeatures)
            projected.append(random.project(part))
        return torch.stack(projected).sum(dim=0).div(math.sqrt(len(names))).relu()

    @torch.no_grad()
    def after_task(self, data: TaskData) -> None:
        """Add the task's clips to the factors, select the ridge strengths, and solve.

        The task's clips are read again here, because a factor is not a sum over clips.
        """
        self.eval()
        held = self.held_out(data)
        parts = self.gathered(data, data.new[~held]), self.gathered(data, data.new[held])
        for modality in self.summed:
            one, sums = self.of(modality), self.sums(modality)
            if not bool(sums.total_sums.isfinite().all()):
                break  # `solve` reports it
            fitted, others = (self.rows(modality, part[modality][0]) for part in parts)
            targets = parts[1][modality][1].to(others)
            factor = thin_factor(torch.cat([one.factor, fitted]))
            if len(others) and len(fitted) and len(self.options.ridge) > 1:
                cross = sums.sums - others.T @ targets
                errors = ridge_errors(factor, cross, others, targets, self.options.ridge)
                one.chosen = errors.argmin().to(one.chosen)
            one.replace([thin_factor(torch.cat([factor, others]))])
        self.solve()

    def held_out(self, data: TaskData) -> NDArray[np.bool_]:
        """Which of the task's clips ridge strengths are compared on, shape [n].

        A fifth, rounded down, but at least one of several clips; drawn at random.
        """
        rng = stream(self.options.projection_seed, _HELD_OUT_KEY, data.task)
        number = len(data.new)
        held = np.zeros(number, dtype=np.bool_)
        if number > 1:
            held[rng.permutation(number)[: max(1, int(HELD_OUT * number))]] = True
        return held

    def solve_sums(self) -> None:
        """Solve the ridge regressions of all modalities."""
        for modality in MODALITIES:
            one = self.of(modality)
            solution = ridge_solution(
                one.factor, self.sums(modality).sums, self.ridge_strength(modality)
            )
            one.weights = solution.to(one.weights).contiguous()

    def remove_class(self, index: int) -> None:
        """Remove the columns of a class; its clips stay in the Gram matrices.

        Args:
            index: Index of the class in the order of learning.
        """
        for modality in MODALITIES:
            one = self.of(modality)
            one.weights = without_entry(one.weights, index)
        super().remove_class(index)

    def scores(self, modality: str, features: Tensor) -> Tensor:
        """See `Pooled`; with several labels, a score of 1/2 has logit 0."""
        found = self.rows(modality, features) @ self.of(modality).weights
        return found - 0.5 if self.setup.multi_label else found
