"""What is predicted for a file, or for a window of it. Nothing here imports torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cign.open_set.words import why_unknown
from cign.utils.file_text import name_to_text
from cign.vocabulary import MODALITIES


def _no_classes() -> dict[str, list[dict[str, Any]]]:
    return {name: [] for name in MODALITIES}


@dataclass(kw_only=True)
class Prediction:
    """What is predicted for a file, or for a window of it.

    Attributes:
        file: Name as it was given, or the name of an `cign.data.media.array_clip.ArrayClip`.
        start_s: Where the window begins, in seconds.
        end_s: Where the window ends, in seconds.
        label: The most probable class of the audio-visual prediction; None if the file failed.
        unknown: Unknown score of the audio-visual prediction, 0..1. Which score a model uses is in
            its ``model.json`` (`cign.open_set.rule`).
        unknown_threshold: The threshold that was applied; None if none is set or it is disabled.
        is_unknown: Whether the score is above the threshold; None if the file failed.
        unknown_evidence: What the unknown score is the mean of, each in standard deviations above
            the mean of the validation clips; empty for the score ``max_probability``.
        modalities: For ``audio``, ``visual`` and ``audio_visual`` the most probable classes,
            ``label`` and ``probability`` each, highest first; empty where the modality is missing.
        missing: Modalities that the file lacks. The audio-visual prediction is then that of the
            other one.
        error: Why the file could not be read; None if it could.
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
    missing: list[str] = field(default_factory=list)
    error: str | None = None

    @property
    def probability(self) -> float | None:
        """Probability of `label` in the audio-visual prediction; None if the file failed."""
        return self.best("audio_visual")[1]

    @property
    def why_unknown(self) -> str | None:
        """Which evidence made the clip unknown, in words; None if it is not called unknown."""
        if not self.is_unknown or self.probability is None or self.unknown_threshold is None:
            return None
        return why_unknown(self.unknown_evidence, self.probability, self.unknown_threshold)

    def best(self, modality: str) -> tuple[str | None, float | None]:
        """The most probable class of a modality and its probability; None where it is missing."""
        classes = self.modalities[modality]
        return (classes[0]["label"], classes[0]["probability"]) if classes else (None, None)

    def to_dict(self) -> dict[str, Any]:
        """Plain values under their final names, as ``cign predict --json`` prints them.

        Returns:
            ``file, start_s, end_s, label, unknown, is_unknown, modalities, missing, error``.
            ``file`` is encoded by `cign.utils.file_text.name_to_text`.
        """
        return {
            "file": name_to_text(self.file),
            "start_s": self.start_s,
            "end_s": self.end_s,
            "label": self.label,
            "unknown": self.unknown,
            "is_unknown": self.is_unknown,
            "modalities": {
                name: [dict(one) for one in self.modalities[name]] for name in MODALITIES
            },
            "missing": list(self.missing),
            "error": None if self.error is None else name_to_text(self.error),
        }

    def to_row(self) -> dict[str, Any]:
        """The prediction in one row: `to_dict` with the best class of each modality."""
        row: dict[str, Any] = {
            "file": name_to_text(self.file),
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
        row["error"] = None if self.error is None else name_to_text(self.error)
        return row


COLUMNS = tuple(Prediction(file="").to_row())
