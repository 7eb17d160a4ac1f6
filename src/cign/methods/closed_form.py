"""Base of closed-form methods: one pass over a task's clips, sums over them, one solution.

A closed-form method adds each clip once to its sums and solves them after the task. Up to rounding,
the solution equals that of all clips so far at once: ACIL (Zhuang et al., NeurIPS 2022), RanPAC
(McDonnell et al., NeurIPS 2023).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from cign.errors import InputError
from cign.methods.adaptation import ADAPTATION, Adaptation
from cign.methods.base import Batch, ByModality, Losses, Method, Output, Setup, TaskData
from cign.methods.phases import Phase, TrainingOptions
from cign.networks.ridge import RandomFeatures, RidgeStatistics, solve_ridge
from cign.vocabulary import UNIMODAL

DTYPES = {"float32": torch.float32, "float64": torch.float64}


class ModalityRidge(nn.Module):
    """Ridge regression of one modality: random features, sums over clips, and their solution.

    Args:
        features: Maps tokens to W random features.
        statistics: The sums; None if the sums of a concatenation contain them as a block.
    """

    weights: Tensor

    def __init__(self, features: RandomFeatures, statistics: RidgeStatistics | None) -> None:
        super().__init__()
        self.features = features
        self.statistics = statistics
        self.register_buffer("weights", torch.zeros(features.width, 0))

    def grow(self, num_new: int) -> None:
        """Add columns of zeros; the next solution fills them for the new classes."""
        if self.statistics is not None:
            self.statistics.grow(num_new)
        self.weights = with_columns(self.weights, num_new)

    def remove(self, index: int) -> None:
        """Remove the columns of a class; its clips stay in the Gram matrix."""
        if self.statistics is not None:
            self.statistics.cross = without_entry(self.statistics.cross, index)
        self.weights = without_entry(self.weights, index)


class ClosedForm(Method):
    """A method that stores sums over clips instead of clips.

    It satisfies the protocols `cign.methods.capabilities.Updatable` and ``SumsOverClips``.

    Subclasses set ``audio`` and ``visual`` (`ModalityRidge`) in their constructor.
    """

    uses_memory: ClassVar[bool] = False
    order_matters: ClassVar[bool] = False
    seed_matters: ClassVar[bool] = False
    needs_float64: ClassVar[bool] = True
    sums_over_clips: ClassVar[frozenset[str]] = frozenset({"gram", "cross", "class_clips"})
    audio: ModalityRidge
    visual: ModalityRidge

    def __init__(self, setup: Setup, options: Any) -> None:
        super().__init__(setup, options)
        self.adaptation = None if setup.backbone is None else Adaptation(setup)

    @classmethod
    def check_regime(cls, options: Any, regime: str) -> None:
        """See `Method`."""
        if regime == "frozen" and options.adaptation != ADAPTATION:
            raise InputError(
                "conflicting-options",
                "adaptation trains encoders and would be ignored on cached tokens: leave it out, "
                "or use --regime end-to-end",
            )

    @classmethod
    def least_weights(cls, options: Mapping[str, Any], shape: Mapping[str, Any]) -> tuple[str, int]:
        """See `Method`; the random projections alone have W x D values."""
        width, dim = options.get("width"), max(shape["audio_dim"], shape["visual_dim"])
        if not isinstance(width, int):
            return "", 0
        return f"width {width:.3g} at tokens of width {dim}", width * dim

    @abstractmethod
    def absorb(self, batch: Batch) -> None:
        """Add clips to the sums."""

    @abstractmethod
    def ridge_of(self, modality: str) -> float:
        """The ridge strength of a modality's solution."""

    def of(self, modality: str) -> ModalityRidge:
        """The ridge regression of ``audio`` or ``visual``."""
        return self.audio if modality == "audio" else self.visual

    def gram(self, modality: str) -> Tensor:
        """The Gram matrix of a modality's features, shape [W, W]; use its lower triangle only."""
        statistics = self.of(modality).statistics
        assert statistics is not None
        return statistics.gram

    def cross(self, modality: str) -> Tensor:
        """The cross-correlation of a modality's features and the labels, shape [W, C]."""
        statistics = self.of(modality).statistics
        assert statistics is not None
        return statistics.cross

    @property
    def state_bytes(self) -> int:
        """Bytes of the sums."""
        sums = (module for module in self.modules() if isinstance(module, RidgeStatistics))
        return sum(statistics.num_bytes for statistics in sums)

    def grow(self, num_new: int) -> None:
        """Add columns for the new classes, which are solved after the task."""
        if self.adaptation is not None and self.num_classes == 0:
            self.adaptation.grow(num_new)
        for modality in UNIMODAL:
            self.of(modality).grow(num_new)
        super().grow(num_new)

    def phases(self, data: TaskData) -> list[Phase]:
        """One pass over the new clips without optimisation; adaptation first in the first task."""
        once = TrainingOptions(num_epochs=1, batch_size=self.options.batch_size)
        phases = [Phase(name="statistics", indices=data.new, options=once, updates=False)]
        if self.adaptation is not None and data.task == 0:
            options = self.options.adaptation
            phases.insert(0, Phase(name="adaptation", indices=data.new, options=options))
        return phases

    def learn(self, batch: Batch, phase: Phase) -> Losses | None:
        """Add the clips to the sums, or train the encoders on them."""
        if phase.updates and self.adaptation is not None:
            return self.adaptation.losses(batch)
        self.eval()  # no dropout or augmentation in the sums
        with torch.no_grad():
            self.absorb(batch)
        return None

    def after_task(self, data: TaskData) -> None:
        """Solve the sums."""
        self.solve()

    @torch.no_grad()
    def solve(self) -> None:
        """Solve all ridge regressions; if one is singular, no solution is replaced.

        Raises:
            RunError: If a system is singular.
        """
        solved = [
            (target, solve_ridge(gram, cross, ridge, f"modality {name}"))
            for name, target, gram, cross, ridge in self.systems()
        ]
        for target, solution in solved:
            module, buffer = target
            # Row-major like a loaded tensor: products round differently with another layout.
            weights = solution.to(module.get_buffer(buffer)).contiguous()
            setattr(module, buffer, weights)

    def systems(self) -> list[tuple[str, tuple[nn.Module, str], Tensor, Tensor, float]]:
        """Systems to solve: name, target of the solution (module, buffer), G, Q and the ridge."""
        systems: list[tuple[str, tuple[nn.Module, str], Tensor, Tensor, float]] = []
        for modality in UNIMODAL:
            one = self.of(modality)
            assert one.statistics is not None
            sums = one.statistics
            ridge = self.ridge_of(modality)
            systems.append((modality, (one, "weights"), sums.gram, sums.cross, ridge))
        return systems

    def remove_class(self, index: int) -> None:
        """Remove the columns of a class; its clips stay in the Gram matrices.

        Each column of a ridge solution is independent of the others, so the columns of the other
        classes stay bit-exact.

        Args:
            index: Index of the class in the order of learning.
        """
        for modality in UNIMODAL:
            self.of(modality).remove(index)
        last = 0
        for task, count in enumerate(self.class_counts):
            last += count
            if index < last:
                self.class_counts[task] -= 1
                return

    def tokens(self, audio: Tensor, visual: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens of a batch: cached tokens, or tokens of the adapted encoders."""
        if self.adaptation is None:
            return audio, visual
        audio, visual = self.adaptation.encoder(audio, visual)
        return audio, visual

    def logits(self, scores: Tensor) -> Tensor:
        """Ridge scores, about 0..1, as logits; with several labels a score of 1/2 has logit 0."""
        if self.setup.multi_label:
            scores = scores - 0.5
        return scores / self.options.temperature

    def output(self, scores: ByModality, **more: ByModality) -> Output:
        """Probabilities from ridge scores; audio-visual ones are derived if not given.

        They are then the sum of the audio and visual log-probabilities (log-odds with several
        labels), normalised again.
        """
        logits = {name: self.logits(values) for name, values in scores.items()}
        if "audio_visual" not in logits:
            logits["audio_visual"] = logits["audio"] + logits["visual"]
        if self.setup.multi_label:
            probabilities = {name: values.sigmoid() for name, values in logits.items()}
        else:
            probabilities = {name: values.softmax(dim=-1) for name, values in logits.items()}
        return Output(probabilities=probabilities, logits=logits, **more)


def with_columns(values: Tensor, number: int) -> Tensor:
    """A copy of [..., C] with columns of zeros added."""
    return torch.cat([values, values.new_zeros(*values.shape[:-1], number)], dim=-1)


def without_entry(values: Tensor, index: int) -> Tensor:
    """A copy of [..., C] without one entry of the last dimension."""
    return torch.cat([values[..., :index], values[..., index + 1 :]], dim=-1)
