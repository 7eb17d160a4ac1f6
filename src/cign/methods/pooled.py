"""Base of methods that classify the mean token of each modality by sums over clips.

The features of a clip are the means over its audio tokens and over its visual tokens; audio-visual
features are both, side by side. A clip without tokens in a modality (all of them zero) is left out
of that modality's sums and of the audio-visual ones.

Legend: B clips, N tokens, C classes, D width of the features of a modality.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from cign.data.tasks import IntArray
from cign.errors import InputError, RunError
from cign.methods.adaptation import ADAPTATION
from cign.methods.base import Batch, Setup, TaskData
from cign.methods.one_pass import OnePass
from cign.methods.options import MethodOptions
from cign.methods.output import ByModality, Output, output_from_logits
from cign.methods.phases import TrainingOptions
from cign.networks.class_sums import ClassSums
from cign.networks.thin_factor import ThinFactors
from cign.utils.options import check_positive, check_sizes
from cign.vocabulary import MODALITIES, UNIMODAL

NO_CLIPS = -1e6
"""Logit of a class without clips in a modality: its probability is 0."""

NEGLIGIBLE = 1e-12
"""Variances below this share of the mean square are rounding errors of sums in float64."""


@dataclass(frozen=True, kw_only=True)
class PooledOptions(MethodOptions):
    """Options of methods on pooled tokens; all values are ours.

    Attributes:
        power: Exponent of sign(x) |x|^power, applied to every pooled feature, in (0, 1]; 1 leaves
            features as they are, 0.5 takes signed roots.
        temperature: Divides the scores before the soft-max or the sigmoid.
        batch_size: Clips absorbed at a time.
        adaptation: How encoders are trained on the first task, end to end; see `Adaptation`.
    """

    power: float = 1.0
    temperature: float = 1.0
    batch_size: int = 256
    adaptation: TrainingOptions = ADAPTATION

    def __post_init__(self) -> None:
        """Reject invalid values."""
        check_positive(self, ("temperature",))
        check_sizes(self, {"batch_size": 1})
        if not 0.0 < self.power <= 1.0:
            raise InputError("bad-value", f"power {self.power} must be in (0, 1]")


class Pooled(OnePass):
    """A method that sums features of pooled tokens by class, and scores classes from the sums.

    It satisfies the protocol `cign.methods.capabilities.Updatable`.

    Class attributes:
        summed: Modalities for which sums are kept.
    """

    Options: ClassVar[type] = PooledOptions
    options: Any
    sums_over_clips: ClassVar[frozenset[str]] = frozenset({"class_sums", "total_sums"})
    summed: ClassVar[tuple[str, ...]] = MODALITIES

    def __init__(self, setup: Setup, options: Any) -> None:
        super().__init__(setup, options)
        audio, visual = setup.shape.audio_dim, setup.shape.visual_dim
        self.dims = {"audio": audio, "visual": visual, "audio_visual": audio + visual}
        self.class_sums = nn.ModuleDict(
            {modality: ClassSums(self.width_of(modality)) for modality in self.summed}
        )

    def width_of(self, modality: str) -> int:
        """Width of the features that are summed."""
        return self.dims[modality]

    def sums(self, modality: str) -> ClassSums:
        """The sums of a modality."""
        found = self.class_sums[modality]
        assert isinstance(found, ClassSums)
        return found

    @property
    def state_bytes(self) -> int:
        """Bytes of the sums and of factors of Gram matrices."""
        names = self.sums_over_clips | {"factor", "ranks"}
        return sum(
            buffer.numel() * buffer.element_size()
            for name, buffer in self.named_buffers()
            if name.rpartition(".")[2] in names
        )

    @property
    def needs_only_means(self) -> bool:
        """See `Method`: true on cached tokens."""
        return self.setup.backbone is None

    def grow(self, num_new: int) -> None:
        """Add columns of zeros for the new classes."""
        for modality in self.summed:
            self.sums(modality).grow(num_new)
        super().grow(num_new)

    def make_room(self, state: Mapping[str, Tensor]) -> None:
        """Also resize the factors of Gram matrices, whose ranks depend on the clips.

        Args:
            state: Tensors by name.
        """
        super().make_room(state)
        for name, module in self.named_modules():
            if isinstance(module, ThinFactors):
                module.make_room(state, f"{name}.")

    def pooled(self, audio: Tensor, visual: Tensor) -> tuple[ByModality, ByModality]:
        """Features by modality, and which clips have them.

        Args:
            audio: Tokens, shape [B, N_a, D_a].
            visual: Tokens, shape [B, N_v, D_v].

        Returns:
            float32, shape [B, D], and bool, shape [B], by modality.
        """
        both = dict(zip(UNIMODAL, (audio, visual), strict=True))
        features = {name: tokens.float().mean(dim=1) for name, tokens in both.items()}
        # Written so that features that are not numbers are found later, in the sums.
        present = {name: (x.abs().amax(dim=1) == 0).logical_not() for name, x in features.items()}
        if self.options.power != 1.0:
            features = {
                name: x.sign() * x.abs().pow(self.options.power) for name, x in features.items()
            }
        features["audio_visual"] = torch.cat([features["audio"], features["visual"]], dim=1)
        present["audio_visual"] = present["audio"] & present["visual"]
        return features, present

    def rows(self, modality: str, features: Tensor) -> Tensor:
        """The features of a modality as they are summed, shape [B, W], in the same precision.

        Args:
            modality: One of ``summed``.
            features: Pooled tokens, shape [B, D].
        """
        return features

    def absorb(self, batch: Batch) -> None:
        """Add clips to the sums."""
        features, present = self.pooled(*self.tokens(batch.audio, batch.visual))
        for modality in self.summed:
            has = present[modality]
            found = self.rows(modality, features[modality].double())
            # A mask as an index would wait for the device.
            rows = torch.where(has.unsqueeze(1), found, 0.0)
            self.absorb_rows(modality, rows, has, batch.targets)

    def absorb_rows(self, modality: str, rows: Tensor, has: Tensor, targets: Tensor) -> None:
        """Add the rows of a modality to the sums.

        Args:
            modality: One of ``summed``.
            rows: float64, shape [B, W]; zeros for clips without the modality.
            has: Which clips have it, bool, shape [B].
            targets: Multi-hot labels, shape [B, C].
        """
        self.sums(modality).absorb(rows, has, targets)

    def gathered(self, data: TaskData, indices: IntArray) -> dict[str, tuple[Tensor, Tensor]]:
        """Features and targets of those clips of a task that have a modality.

        Args:
            data: The task.
            indices: The clips.

        Returns:
            By modality, pooled tokens [m, D], float64, and targets [m, C], bool.
        """
        device = self.sums(self.summed[0]).total_sums.device
        found = {
            modality: (
                [torch.zeros(0, self.dims[modality], dtype=torch.float64, device=device)],
                [torch.zeros(0, self.num_classes, dtype=torch.bool, device=device)],
            )
            for modality in self.summed
        }
        for batch in data.batches(indices):
            features, present = self.pooled(*self.tokens(batch.audio, batch.visual))
            for modality, (parts, targets) in found.items():
                has = present[modality]
                parts.append(features[modality][has].double())
                targets.append(batch.targets[has])
        return {name: (torch.cat(x), torch.cat(labels)) for name, (x, labels) in found.items()}

    def after_task(self, data: TaskData) -> None:
        """Solve the sums."""
        self.solve()

    @torch.no_grad()
    def solve(self) -> None:
        """Compute what predictions need; no solution is replaced if one of them fails.

        Raises:
            RunError: If the sums are not finite or do not determine a solution.
        """
        for modality in self.summed:
            if not bool(self.sums(modality).total_sums.isfinite().all()):
                raise RunError(
                    "singular",
                    f"the sums of {self.name} over the features of modality {modality} are not "
                    "finite: prepare the clips again, some tokens are NaN or infinite",
                )
        self.solve_sums()

    before_scoring = solve

    @abstractmethod
    def solve_sums(self) -> None:
        """Compute what predictions need from finite sums."""

    def remove_class(self, index: int) -> None:
        """Remove a class.

        Args:
            index: Index of the class in the order of learning.
        """
        for modality in self.summed:
            self.sums(modality).remove(index, from_total=not self.setup.multi_label)
        self.forget_column(index)

    @abstractmethod
    def scores(self, modality: str, features: Tensor) -> Tensor:
        """Scores of all classes, which are divided by the temperature, shape [B, C].

        Args:
            modality: One of `MODALITIES`.
            features: Pooled tokens, shape [B, D].
        """

    def has_clips(self, modality: str) -> Tensor:
        """Which classes have clips in a modality, bool, shape [C]."""
        return self.sums(modality).counts > 0

    def predict(self, audio: Tensor, visual: Tensor) -> Output:
        """Soft-max of the scores over the temperature; a sigmoid each if clips have several labels.

        A clip without a modality has logits of 0 there, and its audio-visual logits are those of
        the other modality.
        """
        features, present = self.pooled(*self.tokens(audio, visual))
        logits = {}
        for modality in MODALITIES:
            found = self.scores(modality, features[modality]) / self.options.temperature
            found = torch.where(self.has_clips(modality), found, NO_CLIPS)
            logits[modality] = torch.where(present[modality].unsqueeze(1), found, 0.0)
        alone = logits["audio"] + logits["visual"]
        both = present["audio_visual"].unsqueeze(1)
        logits["audio_visual"] = torch.where(both, logits["audio_visual"], alone)
        return output_from_logits(logits, multi_label=self.setup.multi_label)

    def embed(self, audio: Tensor, visual: Tensor) -> Tensor:
        """The means over tokens, audio and visual side by side, shape [B, D_a + D_v]."""
        return self.pooled(*self.tokens(audio, visual))[0]["audio_visual"]


def inverse_deviation(variance: Tensor, square: Tensor) -> Tensor:
    """Reciprocal root of a variance; 1 where it is 0, up to rounding.

    Args:
        variance: Any variance.
        square: Mean square of the same values, of which a variance below `NEGLIGIBLE` is rounding.
    """
    known = variance > NEGLIGIBLE * square
    return torch.where(known, torch.where(known, variance, 1.0).rsqrt(), 1.0)
