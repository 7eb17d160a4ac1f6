"""A model's rule for clips of classes never taught: which score, and from where on it says so.

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
from cign.training.scoring import EVALUATION_BATCH
from cign.utils.devices import device_of
from cign.vocabulary import MODALITIES

# The threshold lets this share of validation clips through.
KNOWN_SHARE = 0.95
# Ours: as many validation clips as set a 95 % quantile; scoring more of them costs time only.
MOST_CLIPS = 500

Part = Callable[[Evidence, str], Tensor]

PARTS: dict[str, Part] = {
    "max_probability": lambda e, r: scores.max_probability(e.probabilities[r]),
    "max_logit": lambda e, r: scores.max_logit(e.logits[r]),
    "margin": lambda e, r: scores.margin(e.logits[r]),
    "energy": lambda e, r: scores.energy(e.logits[r]),
    "joint_energy": lambda e, r: scores.joint_energy(e.logits[r]),
    "disagreement": lambda e, r: scores.disagreement(
        e.probabilities["audio"], e.probabilities["visual"]
    ),
    "leverage": lambda e, r: e.leverage[r].clamp_min(1e-12).log(),
    "mahalanobis": lambda e, r: e.distance[r].clamp_min(1e-12).log(),
}
# The mean of three, each less its mean and over its standard deviation on validation clips: how
# little speaks for any class, how little for one above the others, how far from all that was seen.
# Where clips have several labels, one class above the others says nothing.
COMBINED = "combined"
_COMBINED_OF = {False: ("max_logit", "margin", "leverage"), True: ("max_logit", "leverage")}
SCORES = (COMBINED, *PARTS)


def default_score(reader: EvidenceReader) -> str:
    """The best score for which a method gives the evidence (benchmarks/results/unknown.md)."""
    return COMBINED if reader.has_statistics else "max_probability"


def possible_scores(reader: EvidenceReader) -> tuple[str, ...]:
    """The scores for which a method gives the evidence."""
    possible = ["max_probability", "disagreement"]
    if reader.has_statistics:
        possible += [COMBINED, "max_logit", "energy", "joint_energy", "leverage"]
        if not reader.method.setup.multi_label:
            possible.append("margin")
    if reader.has_distance:
        possible.append("mahalanobis")
    return tuple(name for name in SCORES if name in possible)


@dataclass(frozen=True, kw_only=True)
class UnknownRule:
    """How a model tells that a clip shows none of its classes.

    Attributes:
        score: One of `SCORES`.
        thresholds: For each reading the score above which a clip is called unknown; empty where
            no validation clip set it. A clip without sound is judged by its visual reading, and
            the other way round.
        moments: For each reading and part of the score its mean and standard deviation on
            validation clips; empty for ``max_probability``, which needs none.
        num_clips: Validation clips that set all this.
    """

    score: str = "max_probability"
    thresholds: dict[str, float] = field(default_factory=dict)
    moments: dict[str, dict[str, tuple[float, float]]] = field(default_factory=dict)
    num_clips: int = 0

    def values(self, evidence: Evidence, modality: str) -> NDArray[np.float32]:
        """Unknown scores of a batch as `score_of` gives them, shape [B]."""
        return _numbers(self.score_of(evidence, modality))

    def score_of(self, evidence: Evidence, modality: str) -> Tensor:
        """Unknown scores of a batch, 0..1, shape [B].

        ``max_probability`` is in 0..1 as it is; any other score, standardised, goes through a
        sigmoid, so that 0.5 is an average validation clip.
        """
        if self.score == "max_probability":
            return PARTS[self.score](evidence, modality)
        return torch.sigmoid(self._standardised(evidence, modality))

    def standardised_parts(
        self, evidence: Evidence, modality: str
    ) -> dict[str, NDArray[np.float32]]:
        """What the score is the mean of, in standard deviations above the validation mean.

        Returns:
            For each part its values, shape [B]; nothing for ``max_probability``.
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
        """Read what `to_dict` gave.

        Args:
            values: Kinds and numbers were checked (`cign.saved_model.schema`).
            reader: Of the method that the rule is for.
            where: Which model, for error messages.

        Raises:
            InputError: If the score is not known, or needs what the method or the values lack.
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
        wanted = {modality: set(names) for modality in MODALITIES} if names else {}
        if {modality: set(parts) for modality, parts in rule.moments.items()} != wanted:
            raise InputError(
                f"{where}: its unknown score {rule.score} needs mean and std of "
                f"{', '.join(names) or 'nothing'} for each reading: restore or remake it"
            )
        return rule


def parts_of(score: str, *, multi_label: bool) -> tuple[str, ...]:
    """The parts of a score whose moments it needs."""
    if score == "max_probability":
        return ()
    return _COMBINED_OF[multi_label] if score == COMBINED else (score,)


def fit_rule(
    reader: EvidenceReader,
    source: ClipSource,
    indices: IntArray,
    *,
    score: str | None = None,
    device: str | torch.device | None = None,
) -> UnknownRule:
    """Set a rule on validation clips.

    Args:
        reader: Of the method.
        source: Reads the clips.
        indices: Validation clips; at most `MOST_CLIPS` of them, evenly spread, are read.
        score: One of `possible_scores`; None takes the best there is.
        device: Where the method is; found from its weights if absent.

    Returns:
        The rule; without clips that of ``max_probability``, without thresholds.
    """
    if len(indices) == 0:
        return UnknownRule()
    if len(indices) > MOST_CLIPS:
        indices = indices[np.linspace(0, len(indices) - 1, MOST_CLIPS).round().astype(np.int64)]
    batches = read_evidence(reader, source, indices, device)
    return rule_on(
        batches, score or default_score(reader), multi_label=reader.method.setup.multi_label
    )


def rule_on(batches: list[Evidence], score: str, *, multi_label: bool) -> UnknownRule:
    """Set a rule on the evidence of validation clips, of which there is at least one."""
    moments = {}
    if names := parts_of(score, multi_label=multi_label):
        moments = {
            modality: {name: _moments(PARTS[name], batches, modality) for name in names}
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
) -> list[Evidence]:
    """Evidence of clips, batch after batch, as `cign.training.scoring.score_clips` reads them."""
    device = device_of(reader.method) if device is None else device
    reader.method.eval()
    found = []
    with torch.inference_mode():
        for some in cut(indices, EVALUATION_BATCH):
            audio, visual = source.read(some)
            found.append(reader.read(audio.to(device), visual.to(device)))
    return found


def _moments(part: Part, batches: list[Evidence], modality: str) -> tuple[float, float]:
    """Mean and standard deviation; 1 in its place where all values are equal."""
    values = np.concatenate([_numbers(part(evidence, modality)) for evidence in batches])
    values = values.astype(np.float64)
    spread = float(values.std())
    return float(values.mean()), spread if spread > 1e-9 and math.isfinite(spread) else 1.0


def _numbers(values: Tensor) -> NDArray[np.float32]:
    numbers: NDArray[np.float32] = values.float().cpu().numpy()
    return numbers
