"""The prediction for a file or a window of it. This module does not import torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cign.open_set.words import why_unknown
from cign.utils.file_text import escape_name
from cign.vocabulary import MODALITIES


def _no_classes() -> dict[str, list[dict[str, Any]]]:
    return {name: [] for name in MODALITIES}


@dataclass(kw_only=True)
class Prediction:
    """The prediction for a file or a window of it.

    Attributes:
        file: Name as given, or the name of a `cign.data.media.array_clip.ArrayClip`.
        start_s: Start of the window in seconds.
        end_s: End of the window in seconds.
        label: The most probable class of the audio-visual prediction; None if the file failed.
        unknown: Unknown score of the audio-visual prediction, 0..1. ``model.json`` names the score
            that the model uses (`cign.open_set.rule`).
        unknown_threshold: The applied threshold; None if none is set or it is disabled.
        is_unknown: Whether the score is above the threshold; None if the file failed.
        unknown_evidence: The parts whose mean is the unknown score, each in standard deviations
            above the mean of the validation clips; empty for the score ``max_probability``.
        modalities: For ``audio``, ``visual`` and ``audio_visual`` the most probable classes, each
            with ``label`` and ``probability``, highest first; empty if the modality is missing.
        labels: The classes that the clip is assigned to: `label`, unless it is below its threshold;
            of a model for clips with several labels, all classes that reach theirs, which is 1/2
            for a class without one, most probable first.
        threshold: Least probability with which `label` is assigned (`cign thresholds`); None if
            the model has none for it.
        below_threshold: Whether the probability of `label` is below it: the prediction is
            uncertain. None without a threshold.
        missing: Missing modalities of the file. The audio-visual prediction then equals that of the
            other modality.
        error: Why the file could not be read; None if it was read.
        error_code: The same as a code of docs/errors.md.
    """

    file: str
    start_s: float | None = None
    end_s: float | None = None
    label: str | None = None
    unknown: float | None = None
    unknown_threshold: float | None = None
    is_unknown: bool | None = None
    unknown_evidence: dict[str, float] = field(default_factory=dict)
    modalities: dict[str, list[dict[str, Any]]] = field(default_factory=_no_classes)
    labels: list[str] = field(default_factory=list)
    threshold: float | None = None
    below_threshold: bool | None = None
    missing: list[str] = field(default_factory=list)
    error: str | None = None
    error_code: str | None = None

    @property
    def probability(self) -> float | None:
        """Probability of `label` in the audio-visual prediction; None if the file failed."""
        return self.best("audio_visual")[1]

    @property
    def judged_by(self) -> str:
        """The modality that decides: audio-visual, or the only one that the clip has."""
        if "audio" in self.missing:
            return "visual"
        return "audio" if "visual" in self.missing else "audio_visual"

    @property
    def why_unknown(self) -> str | None:
        """The decisive evidence as text; None if the clip is not called unknown."""
        if not self.is_unknown or self.probability is None or self.unknown_threshold is None:
            return None
        return why_unknown(self.unknown_evidence, self.probability, self.unknown_threshold)

    def best(self, modality: str) -> tuple[str | None, float | None]:
        """The most probable class of a modality and its probability; None if it is missing."""
        classes = self.modalities[modality]
        return (classes[0]["label"], classes[0]["probability"]) if classes else (None, None)

    def to_dict(self) -> dict[str, Any]:
        """The prediction as plain values, as ``cign predict --json`` prints it.

        Returns:
            ``file, start_s, end_s, label, unknown, is_unknown, unknown_threshold,
            unknown_evidence, why_unknown, modalities, labels, threshold, below_threshold, missing,
            error, error_code``.
            ``file`` is encoded by `cign.utils.file_text.escape_name`.
        """
        return {
            "file": escape_name(self.file),
            "start_s": self.start_s,
            "end_s": self.end_s,
            "label": self.label,
            "unknown": self.unknown,
            "is_unknown": self.is_unknown,
            "unknown_threshold": self.unknown_threshold,
            "unknown_evidence": dict(self.unknown_evidence),
            "why_unknown": self.why_unknown,
            "modalities": {
                name: [dict(one) for one in self.modalities[name]] for name in MODALITIES
            },
            "labels": list(self.labels),
            "threshold": self.threshold,
            "below_threshold": self.below_threshold,
            "missing": list(self.missing),
            "error": None if self.error is None else escape_name(self.error),
            "error_code": self.error_code,
        }

    def to_row(self) -> dict[str, Any]:
        """The prediction as a flat row: `to_dict` with the best class of each modality."""
        row: dict[str, Any] = {
            "file": escape_name(self.file),
            "start_s": self.start_s,
            "end_s": self.end_s,
            "label": self.label,
            "probability": self.probability,
            "unknown": self.unknown,
            "is_unknown": self.is_unknown,
        }
        for name in MODALITIES[:2]:
            row[f"{name}_label"], row[f"{name}_probability"] = self.best(name)
        row["missing"] = "|".join(self.missing)
        row["error"] = None if self.error is None else escape_name(self.error)
        row["error_code"] = self.error_code
        row["labels"] = "|".join(self.labels)
        row["below_threshold"] = self.below_threshold
        return row


COLUMNS = tuple(Prediction(file="").to_row())
