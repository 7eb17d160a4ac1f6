"""Ridge regression on random features of frozen tokens: a closed form, no clip is kept.

ACIL (Zhuang et al., NeurIPS 2022), RanPAC (McDonnell et al., NeurIPS 2023), for audio-visual data
MMAL (ACM MM 2024). What is theirs and what is ours: docs/methods/analytic.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from cign.errors import InputError, one_of
from cign.methods.adaptation import ADAPTATION, Adaptation
from cign.methods.base import READINGS, Batch, Losses, Method, Scores, Setup, TaskData
from cign.methods.phases import Phase, TrainingOptions
from cign.models.ridge import RandomFeatures, RidgeStatistics, solve_ridge
from cign.options import check_positive, check_sizes

Fusion = Literal["concatenation", "log_probabilities"]
Precision = Literal["float32", "float64"]
DTYPES = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True, kw_only=True)
class AnalyticOptions:
    """Options of `analytic`; all figures are ours, to be tuned like every method's.

    Attributes:
        width: W, random features of each modality.
        ridge: Added to the diagonal of each Gram matrix.
        fused: The audio-visual reading: ``log_probabilities`` of the two modalities added, or the
            solution on the ``concatenation`` of their features, whose Gram matrix has four times
            the bytes of one modality's.
        temperature: Ridge scores, which lie about 0..1, are divided by it before the soft-max.
        precision: Of sums and products of features; solving is always in float64.
        projection_seed: Of the random projections; apart from the run's seed.
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
        """Refuse values that have no meaning."""
        if self.fused not in ("concatenation", "log_probabilities"):
            raise one_of(self.fused, ("concatenation", "log_probabilities"), "fused")
        if self.precision not in DTYPES:
            raise one_of(self.precision, DTYPES, "precision")
        check_sizes(self, {"width": 1, "batch_size": 1, "ridge": 0, "projection_seed": 0})
        check_positive(self, ("temperature",))


class Analytic(Method):
    """One pass over each task's clips, then one ridge solution for each reading.

    After every task the solution is that of all clips so far at once (to rounding).
    """

    name: ClassVar[str] = "analytic"
    Options: ClassVar[type] = AnalyticOptions
    uses_memory: ClassVar[bool] = False
    order_matters: ClassVar[bool] = False
    seed_matters: ClassVar[bool] = False
    needs_float64: ClassVar[bool] = True
    statistics_class: ClassVar[type[RidgeStatistics]] = RidgeStatistics
    options: AnalyticOptions

    def __init__(self, setup: Setup, options: AnalyticOptions) -> None:
        super().__init__(setup, options)
        self.adaptation = None if setup.backbone is None else Adaptation(setup)
        dims = {"audio": setup.shape.audio_dim, "visual": setup.shape.visual_dim}
        self.features = nn.ModuleDict(
            {
                name: RandomFeatures(
                    dim, options.width, seed=options.projection_seed, number=number
                )
                for number, (name, dim) in enumerate(dims.items())
            }
        )
        # The Gram matrix of the concatenation holds the modalities' own as diagonal blocks.
        widths = {"audio": options.width, "visual": options.width}
        if options.fused == "concatenation":
            widths = {"audio_visual": 2 * options.width}
        self.statistics = nn.ModuleDict(
            {name: self.statistics_class(width, self.sums_dtype) for name, width in widths.items()}
        )
        self.solved = READINGS if options.fused == "concatenation" else READINGS[:2]
        for reading in self.solved:
            width = options.width * (2 if reading == "audio_visual" else 1)
            self.register_buffer(f"{reading}_weights", torch.zeros(width, 0))

    @classmethod
    def check_regime(cls, options: AnalyticOptions, regime: str) -> None:
        """See `Method`."""
        if regime == "frozen" and options.adaptation != ADAPTATION:
            raise InputError(
                "adaptation trains encoders and would be ignored on cached tokens: leave it out, "
                "or use --regime end-to-end"
            )

    @property
    def sums_dtype(self) -> torch.dtype:
        """Precision of the sums."""
        return DTYPES[self.options.precision]

    def ridge_of(self, reading: str) -> float:
        """The ridge of a reading's solution."""
        return self.options.ridge

    @property
    def state_bytes(self) -> int:
        """Bytes of Gram matrices and cross-correlations."""
        return sum(self._sums(name).num_bytes for name in self.statistics)

    def _sums(self, name: str) -> RidgeStatistics:
        sums = self.statistics[name]
        assert isinstance(sums, RidgeStatistics)
        return sums

    def grow(self, num_new: int) -> None:
        """Add columns; the solution knows the new classes after the task."""
        if self.adaptation is not None and self.num_classes == 0:
            self.adaptation.grow(num_new)
        for name in self.statistics:
            self._sums(name).grow(num_new)
        for reading in self.solved:
            old = self.get_buffer(f"{reading}_weights")
            grown = torch.cat([old, old.new_zeros(len(old), num_new)], dim=1)
            self.register_buffer(f"{reading}_weights", grown)
        super().grow(num_new)

    def phases(self, data: TaskData) -> list[Phase]:
        """One pass over the new clips with nothing to optimise; before the first, adaptation."""
        once = TrainingOptions(num_epochs=1, batch_size=self.options.batch_size)
        phases = [Phase(name="statistics", indices=data.new, options=once, updates=False)]
        if self.adaptation is not None and data.task == 0:
            options = self.options.adaptation
            phases.insert(0, Phase(name="adaptation", indices=data.new, options=options))
        return phases

    def tokens(self, audio: Tensor, visual: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens of a batch: cached ones as they are, or those of the adapted encoders."""
        if self.adaptation is None:
            return audio, visual
        heard, seen = self.adaptation.encoder(audio, visual)
        return heard, seen

    def mean_tokens(self, audio: Tensor, visual: Tensor, dtype: torch.dtype) -> list[Tensor]:
        """The mean token of each modality, shapes [B, D_a] and [B, D_v]."""
        return [tokens.to(dtype).mean(dim=1) for tokens in self.tokens(audio, visual)]

    def random_features(
        self, audio: Tensor, visual: Tensor, dtype: torch.dtype
    ) -> dict[str, Tensor]:
        """Features of every reading that is solved: [B, W], and [B, 2 W] for the concatenation."""
        means = self.mean_tokens(audio, visual, dtype)
        heard, seen = (self.features[name](x) for name, x in zip(READINGS, means, strict=False))
        features = {"audio": heard, "visual": seen}
        if "audio_visual" in self.solved:
            features["audio_visual"] = torch.cat([heard, seen], dim=1)
        return features

    def learn(self, batch: Batch, phase: Phase) -> Losses | None:
        """Add the clips to the sums, or train the encoders on them."""
        if phase.updates and self.adaptation is not None:
            return self.adaptation.losses(batch)
        self.eval()  # sums are of clips as they are
        with torch.no_grad():
            self.absorb(batch)
        return None

    def absorb(self, batch: Batch) -> None:
        """Add clips to the sums."""
        features = self.random_features(batch.audio, batch.visual, self.sums_dtype)
        for name in self.statistics:
            self._sums(name).absorb(features[name], batch.targets)

    @torch.no_grad()
    def after_task(self, data: TaskData) -> None:
        """Solve each reading; if one is singular, none is replaced."""
        solutions = {}
        for reading in self.solved:
            gram, cross = self._system(reading)
            solutions[reading] = solve_ridge(
                gram, cross, self.ridge_of(reading), f"reading {reading}"
            )
        for reading, solution in solutions.items():
            weights = self.get_buffer(f"{reading}_weights")
            # Row by row, as a loaded one lies: elsewhere in memory products round differently.
            self.register_buffer(f"{reading}_weights", solution.to(weights).contiguous())

    def remove_class(self, index: int) -> None:
        """Forget a class: its columns go; what its clips added to the Gram matrices stays.

        Each column of a ridge solution is solved apart from the others, so that those of the
        other classes stay as they are, bit for bit.

        Args:
            index: In the order in which the classes were taught.
        """
        for name in self.statistics:
            sums = self._sums(name)
            sums.cross = without_entry(sums.cross, index)
        for reading in self.solved:
            weights = self.get_buffer(f"{reading}_weights")
            self.register_buffer(f"{reading}_weights", without_entry(weights, index))
        last = 0
        for task, count in enumerate(self.class_counts):
            last += count
            if index < last:
                self.class_counts[task] -= 1
                return

    def _system(self, reading: str) -> tuple[Tensor, Tensor]:
        """Gram matrix and cross-correlation of a reading."""
        if reading in self.statistics:
            sums = self._sums(reading)
            return sums.gram, sums.cross
        both, width = self._sums("audio_visual"), self.options.width
        block = slice(0, width) if reading == "audio" else slice(width, 2 * width)
        return both.gram[block, block], both.cross[block]

    def predict(self, audio: Tensor, visual: Tensor) -> Scores:
        """Soft-max of the ridge scores; sigmoids around 1/2 where clips have several labels."""
        features = self.random_features(audio, visual, torch.float32)
        logits = {}
        for reading in self.solved:
            logits[reading] = self.logits(features[reading] @ self.get_buffer(f"{reading}_weights"))
        return self.probabilities(logits)

    def logits(self, scores: Tensor) -> Tensor:
        """Ridge scores, about 0..1, as logits; with several labels 1/2 is undecided."""
        if self.setup.multi_label:
            scores = scores - 0.5
        return scores / self.options.temperature

    def probabilities(self, logits: dict[str, Tensor]) -> Scores:
        """Probabilities of every reading; a fused one that is not given is made of the others."""
        if "audio_visual" not in logits:
            # Added log-probabilities (log-odds with several labels), normalised again.
            logits = {**logits, "audio_visual": logits["audio"] + logits["visual"]}
        if self.setup.multi_label:
            return {reading: logits[reading].sigmoid() for reading in READINGS}
        return {reading: logits[reading].softmax(dim=-1) for reading in READINGS}

    def embed(self, audio: Tensor, visual: Tensor) -> Tensor:
        """The normalised mean tokens, shape [B, D_a + D_v]."""
        means = self.mean_tokens(audio, visual, torch.float32)
        return torch.cat([nn.functional.layer_norm(x, x.shape[1:]) for x in means], dim=1)


def without_entry(values: Tensor, index: int) -> Tensor:
    """A copy of [..., C] without one entry of the last dimension."""
    return torch.cat([values[..., :index], values[..., index + 1 :]], dim=-1)
