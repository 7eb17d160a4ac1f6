"""Ridge regression on random features of frozen tokens, in closed form and without memory.

ACIL (Zhuang et al., NeurIPS 2022), RanPAC (McDonnell et al., NeurIPS 2023), for audio-visual data
MMAL (ACM MM 2024). docs/methods/analytic.md lists what is theirs and what is ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from cign.errors import one_of
from cign.methods.adaptation import ADAPTATION
from cign.methods.base import Batch, Output, Setup
from cign.methods.closed_form import DTYPES, ClosedForm, ModalityRidge, with_columns, without_entry
from cign.methods.phases import TrainingOptions
from cign.methods.registry import register_method
from cign.networks.ridge import RandomFeatures, RidgeStatistics
from cign.utils.options import check_positive, check_sizes
from cign.vocabulary import UNIMODAL

Fusion = Literal["concatenation", "log_probabilities"]
Precision = Literal["float32", "float64"]


@dataclass(frozen=True, kw_only=True)
class AnalyticOptions:
    """Options of `analytic`; all values are ours; tune them as for every method.

    Attributes:
        width: W, number of random features of each modality.
        ridge: Ridge strength, added to the diagonal of each Gram matrix.
        fused: How to predict audio-visually: ``log_probabilities`` adds those of the two
            modalities; ``concatenation`` solves on their concatenated features, whose Gram matrix
            has four times the bytes of that of one modality.
        temperature: Divides the ridge scores, which are about 0..1, before the soft-max.
        precision: Precision of sums and products of features; solving is always in float64.
        projection_seed: Seed of the random projections; independent of the seed of the run.
        batch_size: Clips absorbed at a time.
        adaptation: How encoders are trained on the first task, end to end; see `Adaptation`.
    """

    width: int = 2000
    ridge: float = 100.0
    fused: Fusion = "log_probabilities"
    temperature: float = 0.1
    precision: Precision = "float64"
    projection_seed: int = 0
    batch_size: int = 256
    adaptation: TrainingOptions = ADAPTATION

    def __post_init__(self) -> None:
        """Reject invalid values."""
        if self.fused not in ("concatenation", "log_probabilities"):
            raise one_of(self.fused, ("concatenation", "log_probabilities"), "fused")
        if self.precision not in DTYPES:
            raise one_of(self.precision, DTYPES, "precision")
        check_sizes(self, {"width": 1, "batch_size": 1, "ridge": 0, "projection_seed": 0})
        check_positive(self, ("temperature",))


@register_method("analytic")
class Analytic(ClosedForm):
    """One pass over each task's clips, then one ridge solution for each modality.

    With ``fused: concatenation``, the sums are over the concatenated features of both modalities;
    the Gram matrices of the single modalities are diagonal blocks.
    """

    Options: ClassVar[type] = AnalyticOptions
    options: AnalyticOptions
    joint_weights: Tensor

    def __init__(self, setup: Setup, options: AnalyticOptions) -> None:
        super().__init__(setup, options)
        o, dtype = options, DTYPES[options.precision]
        features = [
            RandomFeatures(dim, o.width, seed=o.projection_seed, number=number)
            for number, dim in enumerate((setup.shape.audio_dim, setup.shape.visual_dim))
        ]
        self.joint: RidgeStatistics | None = None
        if o.fused == "concatenation":
            self.joint = RidgeStatistics(2 * o.width, dtype)
            self.register_buffer("joint_weights", torch.zeros(2 * o.width, 0))
        self.audio, self.visual = (
            ModalityRidge(part, RidgeStatistics(o.width, dtype) if self.joint is None else None)
            for part in features
        )

    def ridge_of(self, modality: str) -> float:
        """See `ClosedForm`."""
        return self.options.ridge

    def gram(self, modality: str) -> Tensor:
        """See `ClosedForm`."""
        if self.joint is None:
            return super().gram(modality)
        block = self._block(modality)
        return self.joint.gram[block, block]

    def cross(self, modality: str) -> Tensor:
        """See `ClosedForm`."""
        if self.joint is None:
            return super().cross(modality)
        return self.joint.cross[self._block(modality)]

    def grow(self, num_new: int) -> None:
        """See `ClosedForm`."""
        if self.joint is not None:
            self.joint.grow(num_new)
            self.joint_weights = with_columns(self.joint_weights, num_new)
        super().grow(num_new)

    def remove_class(self, index: int) -> None:
        """See `ClosedForm`."""
        if self.joint is not None:
            self.joint.cross = without_entry(self.joint.cross, index)
            self.joint_weights = without_entry(self.joint_weights, index)
        super().remove_class(index)

    def systems(self) -> list[tuple[str, tuple[nn.Module, str], Tensor, Tensor, float]]:
        """See `ClosedForm`."""
        if self.joint is None:
            return super().systems()
        ridge = self.options.ridge
        parts: list[tuple[str, tuple[nn.Module, str], Tensor, Tensor, float]] = [
            (
                modality,
                (self.of(modality), "weights"),
                self.gram(modality),
                self.cross(modality),
                ridge,
            )
            for modality in UNIMODAL
        ]
        whole = (self, "joint_weights")
        return [*parts, ("audio_visual", whole, self.joint.gram, self.joint.cross, ridge)]

    def _block(self, modality: str) -> slice:
        """The rows of the concatenation's sums that belong to a modality."""
        begin = UNIMODAL.index(modality) * self.options.width
        return slice(begin, begin + self.options.width)

    def mean_tokens(self, audio: Tensor, visual: Tensor, dtype: torch.dtype) -> list[Tensor]:
        """The mean token of each modality, shapes [B, D_a] and [B, D_v]."""
        return [tokens.to(dtype).mean(dim=1) for tokens in self.tokens(audio, visual)]

    def random_features(
        self, audio: Tensor, visual: Tensor, dtype: torch.dtype
    ) -> dict[str, Tensor]:
        """Random features of each modality's mean token, [B, W]."""
        means = self.mean_tokens(audio, visual, dtype)
        pairs = zip(UNIMODAL, means, strict=True)
        return {modality: self.of(modality).features(mean) for modality, mean in pairs}

    def absorb(self, batch: Batch) -> None:
        """See `ClosedForm`."""
        features = self.random_features(batch.audio, batch.visual, DTYPES[self.options.precision])
        if self.joint is not None:
            both = torch.cat([features["audio"], features["visual"]], dim=1)
            self.joint.absorb(both, batch.targets)
            return
        for modality in UNIMODAL:
            statistics = self.of(modality).statistics
            assert statistics is not None
            statistics.absorb(features[modality], batch.targets)

    def predict(self, audio: Tensor, visual: Tensor) -> Output:
        """Soft-max of the ridge scores; sigmoids around 1/2 if clips have several labels."""
        features = self.random_features(audio, visual, torch.float32)
        scores = {name: x @ self.of(name).weights for name, x in features.items()}
        if self.joint is not None:
            both = torch.cat([features["audio"], features["visual"]], dim=1)
            scores["audio_visual"] = both @ self.joint_weights
        return self.output(scores, features=features)

    def embed(self, audio: Tensor, visual: Tensor) -> Tensor:
        """The normalised mean tokens, shape [B, D_a + D_v]."""
        means = self.mean_tokens(audio, visual, torch.float32)
        return torch.cat([nn.functional.layer_norm(x, x.shape[1:]) for x in means], dim=1)
