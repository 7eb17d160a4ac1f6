"""Thresholds of a model's classes: the probability from which a class is assigned.

`cign.labelling.thresholds` chooses them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

DEFAULT = 0.5
"""Threshold of a class without one, where clips may have several labels."""


@dataclass(frozen=True, kw_only=True)
class ClassThreshold:
    """The threshold of a class in one modality, and its effect on left-out clips.

    Attributes:
        threshold: Least probability with which the class is assigned; None if no clip of the class
            could be predicted without its source, or none was assigned to it.
        precision: Fraction of the clips assigned to the class that are of the class; None without
            a threshold.
        recall: Fraction of the clips of the class that are assigned to it; None without any.
        num_clips: Clips of the class behind these figures.
        is_reached: Whether the wanted precision or recall is reached; if not, the threshold is that
            of the best that can be.
    """

    threshold: float | None
    precision: float | None
    recall: float | None
    num_clips: int
    is_reached: bool


@dataclass(frozen=True, kw_only=True)
class ClassThresholds:
    """The thresholds of all classes of a model.

    Attributes:
        measure: What was wanted of each class, ``precision`` or ``recall``.
        wanted: How much of it, 0..1.
        classes: By class, in the order of learning, and by modality.
    """

    measure: str
    wanted: float
    classes: Mapping[str, Mapping[str, ClassThreshold]]

    def of(self, name: str, modality: str) -> float | None:
        """The threshold of a class in a modality; None without one."""
        return self.classes[name][modality].threshold

    @property
    def not_reached(self) -> tuple[str, ...]:
        """Classes that do not reach what was wanted of them in the audio-visual prediction."""
        return tuple(
            name for name, one in self.classes.items() if not one["audio_visual"].is_reached
        )

    def renamed(self, old: str, new: str) -> ClassThresholds:
        """The same thresholds after a class was renamed."""
        return replace(
            self, classes={new if n == old else n: one for n, one in self.classes.items()}
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for ``model.json``."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`, for values that `cign.saved_model.schema` has checked."""
        return cls(
            measure=values["measure"],
            wanted=values["wanted"],
            classes={
                name: {modality: ClassThreshold(**one) for modality, one in by_modality.items()}
                for name, by_modality in values["classes"].items()
            },
        )
