"""A model's rule for clips of unknown classes: its score and thresholds.

Legend: B clips.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cign.data.batches import ClipSource, cut
from cign.data.tasks import IntArray
from cign.errors import InputError, one_of
from cign.open_set import scores
from cign.open_set.evidence import Evidence, EvidenceReader
from cign.utils.devices import device_of
from cign.vocabulary import EVALUATION_BATCH, MODALITIES

# Fraction of validation clips below the threshold.
KNOWN_SHARE = 0.95
# Our choice: enough validation clips for a 95 % quantile; scoring more only costs time.
MOST_CLIPS = 500

Part = Callable[[Evidence, str], Tensor]

PARTS: dict[str, Part] = {
    "max_probability": lambda e, r: scores.max_probability(e.probabilities[r]),
    "max_logit": lambda e, r: scores.max_logit(e.logits[r]),
    "margin": lambda e, r: scores.margin(e.logits[r]),
    "leverage": lambda e, r: e.leverage[r].clamp_min(1e-12).log(),
}
# The mean of three parts, each standardised on validation clips: low scores for all classes, a low
# margin between the classes, and a large distance from the training data. With several labels per
# clip the margin is meaningless and left out.
COMBINED = "combined"
_COMBINED_OF = {False: ("max_logit", "margin", "leverage"), True: ("max_logit", "leverage")}
SCORES = (COMBINED, "max_probability")


def default_score(reader: EvidenceReader) -> str:
    """The best score that a method supports (benchmarks/results/unknown.md)."""
    return COMBINED if reader.has_statistics else "max_probability"


def possible_scores(reader: EvidenceReader) -> tuple[str, ...]:
    """The scores that a method supports."""
    return SCORES if reader.has_statistics else SCORES[1:]


@dataclass(frozen=True, kw_only=True)
class UnknownRule:
    """Rule that decides whether a clip is of an unknown class.

    Attributes:
        score: One of `SCORES`.
        thresholds: For each modality the score above which a clip is called unknown; empty without
            validation clips. A clip without audio uses its visual score, and vice versa.
        moments: For each modality and part of the score its mean and standard deviation on
            validation clips; empty for ``max_probability``, which needs none.
        num_clips: Number of validation clips behind thresholds and moments.
    """

    score: str = "max_probability"
    thresholds: dict[str, float] = field(default_factory=dict)
    moments: dict[str, dict[str, tuple[float, float]]] = field(default_factory=dict)
    num_clips: int = 0

    def values(self, evidence: Evidence, modality: str) -> NDArray[np.float32]:
        """Unknown scores of a batch from `score_of` as an array, shape [B]."""
        return _numbers(self.score_of(evidence, modality))

    def score_of(self, evidence: Evidence, modality: str) -> Tensor:
        """Unknown scores of a batch, 0..1, shape [B].

        ``max_probability`` is already in 0..1. Any other score is standardised and passed through a
        sigmoid, so that 0.5 corresponds to an average validation clip.
        """
        if self.score == "max_probability":
            return PARTS[self.score](evidence, modality)
        return torch.sigmoid(self._standardised(evidence, modality))

    def standardised_parts(
        self, evidence: Evidence, modality: str
    ) -> dict[str, NDArray[np.float32]]:
        """The parts whose mean is the score, in standard deviations above the validation mean.

        Returns:
            The values of each part, shape [B]; empty for ``max_probability``.
        """
        return {name: _numbers(part) for name, part in self._parts(evidence, modality).items()}

    def _standardised(self, evidence: Evidence, modality: str) -> Tensor:
        return torch.stack(list(self._parts(evidence, modality).values())).mean(dim=0)

    def _parts(self, evidence: Evidence, modality: str) -> dict[str, Tensor]:
        moments = self.moments.get(modality, {})
        return {name: (PARTS[name](evidence, modality) - m) / s for name, (m, s) in moments.items()}

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for ``model.json``."""
        moments = {
            modality: {name: {"mean": m, "std": s} for name, (m, s) in parts.items()}
            for modality, parts in self.moments.items()
        }
        return {
            "score": self.score,
            "known_share": KNOWN_SHARE,
            "num_clips": self.num_clips,
            "thresholds": dict(self.thresholds),
            "moments": moments,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any], reader: EvidenceReader, where: str) -> UnknownRule:
        """Build a rule from the output of `to_dict`.

        Args:
            values: Plain values, already validated by `cign.saved_model.schema`.
            reader: Evidence reader of the method.
            where: Name of the model, for error messages.

        Raises:
            InputError: If the score is unknown, or needs statistics that the method or the values
                lack.
        """
        if values["score"] not in SCORES:
            raise one_of(values["score"], SCORES, "unknown score")
        possible = possible_scores(reader)
        if values["score"] not in possible:
            raise one_of(values["score"], possible, f"unknown score of {reader.method.name}")
        rule = cls(
            score=values["score"],
            thresholds=dict(values["thresholds"]),
            moments={
                modality: {name: (one["mean"], one["std"]) for name, one in parts.items()}
                for modality, parts in values["moments"].items()
            },
            num_clips=values["num_clips"],
        )
        names = parts_of(rule.score, multi_label=reader.method.setup.multi_label)
        expected = {modality: set(names) for modality in MODALITIES} if names else {}
        if {modality: set(parts) for modality, parts in rule.moments.items()} != expected:
            raise InputError(
                "damaged",
                f"{where}: its unknown score {rule.score} needs mean and std of "
                f"{', '.join(names) or 'nothing'} for each modality: restore or recreate it",
            )
        return rule


def parts_of(score: str, *, multi_label: bool) -> tuple[str, ...]:
    """The parts of a score that need moments."""
    return _COMBINED_OF[multi_label] if score == COMBINED else ()


def fit_rule(
    reader: EvidenceReader,
    source: ClipSource,
    indices: IntArray,
    *,
    device: str | torch.device | None = None,
    batch_size: int | None = None,
) -> UnknownRule:
    """Fit the best rule that the method supports on validation clips.

    Args:
        reader: Evidence reader of the method.
        source: Reads the clips.
        indices: Validation clips; at most `MOST_CLIPS` of them, evenly spaced, are used.
        device: Device of the method; None takes that of its weights.
        batch_size: Clips per forward pass; None takes `EVALUATION_BATCH`.

    Returns:
        The rule; without clips, ``max_probability`` without thresholds.
    """
    if len(indices) == 0:
        return UnknownRule()
    if len(indices) > MOST_CLIPS:
        indices = indices[np.linspace(0, len(indices) - 1, MOST_CLIPS).round().astype(np.int64)]
    batches = read_evidence(reader, source, indices, device, batch_size)
    return rule_on(batches, default_score(reader), multi_label=reader.method.setup.multi_label)


def rule_on(batches: list[Evidence], score: str, *, multi_label: bool) -> UnknownRule:
    """Fit a rule on the evidence of at least one validation clip."""
    moments = {}
    if names := parts_of(score, multi_label=multi_label):
        moments = {
            modality: {name: moments_of(PARTS[name], batches, modality) for name in names}
            for modality in MODALITIES
        }
    rule = UnknownRule(score=score, moments=moments)
    values = {
        modality: np.concatenate([rule.values(evidence, modality) for evidence in batches])
        for modality in MODALITIES
    }
    return replace(
        rule,
        thresholds={
            modality: float(np.quantile(some, KNOWN_SHARE)) for modality, some in values.items()
        },
        num_clips=len(values["audio_visual"]),
    )


def read_evidence(
    reader: EvidenceReader,
    source: ClipSource,
    indices: IntArray,
    device: str | torch.device | None = None,
    batch_size: int | None = None,
) -> list[Evidence]:
    """Evidence of clips, in the batches of `cign.training.scoring.score_clips`."""
    device = device_of(reader.method) if device is None else device
    reader.method.eval()
    found = []
    with torch.inference_mode():
        for some in cut(indices, batch_size or EVALUATION_BATCH):
            audio, visual = source.read(some)
            found.append(reader.read(audio.to(device), visual.to(device)))
    return found


def moments_of(part: Part, batches: list[Evidence], modality: str) -> tuple[float, float]:
    """Mean and standard deviation of a part; the latter is 1 if all values are equal."""
    values = np.concatenate([_numbers(part(evidence, modality)) for evidence in batches])
    values = values.astype(np.float64)
    spread = float(values.std())
    return float(values.mean()), spread if spread > 1e-9 and math.isfinite(spread) else 1.0


def _numbers(values: Tensor) -> NDArray[np.float32]:
    numbers: NDArray[np.float32] = values.float().cpu().numpy()
    return numbers
