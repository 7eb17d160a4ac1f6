"""Segments of recordings, and when they begin and end. This module does not import torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from cign.errors import InputError
from cign.inference.prediction import Prediction
from cign.utils.file_text import escape_name
from cign.vocabulary import MODALITIES

if TYPE_CHECKING:
    from cign.saved_model.model import Model

ENTER, LEAVE = 0.5, 0.3
# Defaults in windows of the model.
EVERY, LEAST, BRIDGE = 0.25, 0.75, 0.75


@dataclass(frozen=True, kw_only=True)
class SegmentRules:
    """When a segment begins and ends.

    Attributes:
        enter: Least probability of a window with which a segment of a class begins, 0..1.
        leave: Probability below which it ends, at most `enter`.
        least_s: Shorter segments are left out, in seconds. In a shorter recording none is.
        bridge_s: Segments of one class with a gap of at most this between them are one, in seconds.
            If a clip has one label, the gap must hold no segment that is long enough itself.
        smooth: Whether a window is called unknown by the mean unknown score of itself and of its
            two neighbours, where they touch it: single windows are often called unknown wrongly.
        limits: For ``audio``, ``visual`` and ``audio_visual``, which one decides about a window,
            the probability of single classes that replaces `enter`, as `cign thresholds` chooses
            it; theirs that replaces `leave` is in the same proportion to it.

    Raises:
        InputError: If a value is out of range.
    """

    enter: float = ENTER
    leave: float = LEAVE
    least_s: float = 0.0
    bridge_s: float = 0.0
    smooth: bool = False
    limits: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 < self.enter <= 1:
            raise InputError(
                "bad-value", f"the probability to enter is {self.enter:g}: it must be in (0, 1]"
            )
        if not 0 <= self.leave <= self.enter:
            raise InputError(
                "bad-value",
                f"the probability to leave is {self.leave:g}: it must be in [0, {self.enter:g}], "
                "at most the probability to enter",
            )
        for name, value in (("least duration", self.least_s), ("gap to bridge", self.bridge_s)):
            if not 0 <= value < float("inf"):
                raise InputError("bad-value", f"the {name} is {value:g} s: it must be 0 or more")

    @classmethod
    def of_model(
        cls,
        model: Model,
        *,
        enter: float | None = None,
        leave: float | None = None,
        least_s: float | None = None,
        bridge_s: float | None = None,
    ) -> Self:
        """The rules for a model; what is not given has a default that suits its window.

        Args:
            model: The model; the thresholds of its classes are `limits` unless ``enter`` is given.
            enter: See `SegmentRules`; for all classes.
            leave: See `SegmentRules`; by default in the same proportion to ``enter`` as `LEAVE` to
                `ENTER`.
            least_s: See `SegmentRules`; 3/4 of a window by default.
            bridge_s: See `SegmentRules`; 3/4 of a window by default.

        Raises:
            InputError: If a value is out of range.
        """
        window_s = model.media_spec.window_s
        limits = {}
        if enter is None and model.thresholds is not None:
            for modality in MODALITIES:
                found = {name: model.thresholds.of(name, modality) for name in model.classes}
                limits[modality] = {name: x for name, x in found.items() if x is not None}
        first = ENTER if enter is None else enter
        return cls(
            enter=first,
            leave=first * LEAVE / ENTER if leave is None else leave,
            least_s=LEAST * window_s if least_s is None else least_s,
            bridge_s=BRIDGE * window_s if bridge_s is None else bridge_s,
            smooth=True,
            limits=limits,
        )

    def enter_of(self, label: str, modality: str = "audio_visual") -> float:
        """The probability with which a segment of a class begins, by a modality."""
        return self.limits.get(modality, {}).get(label, self.enter)

    def leave_of(self, label: str, modality: str = "audio_visual") -> float:
        """The probability below which a segment of a class ends, by a modality."""
        limit = self.limits.get(modality, {}).get(label)
        return self.leave if limit is None else limit * self.leave / self.enter


_OF = "_probability"
COLUMNS = (
    *("file", "start_s", "end_s", "label", "probability", "unknown", "is_unknown"),
    *(f"audio{_OF}", f"visual{_OF}", "num_windows", "error", "error_code"),
)
"""Columns of segments as a table."""


def as_dict(found: Segment | Prediction) -> dict[str, Any]:
    """`Segment.to_dict`; of a recording that could not be read, the same fields with its error."""
    values = found.to_dict()
    if isinstance(found, Segment):
        return values
    fields = ("start_s", "end_s", "label", "probability", "is_unknown", "unknown", "num_windows")
    return {
        **dict.fromkeys(fields),
        "file": values["file"],
        "modalities": dict.fromkeys(MODALITIES),
        "error": values["error"],
        "error_code": values["error_code"],
    }


def as_row(found: Segment | Prediction) -> dict[str, Any]:
    """`as_dict` as a flat row of `COLUMNS`."""
    values = as_dict(found)
    parts = values["modalities"]
    return {name: values.get(name, parts.get(name.removesuffix(_OF))) for name in COLUMNS}


@dataclass(frozen=True, kw_only=True)
class Segment:
    """An interval of a recording with one class, or that is unknown.

    Attributes:
        file: Name of the recording, as in the predictions.
        start_s: Start in seconds.
        end_s: End in seconds.
        label: The class; for an unknown segment the most probable class, as for a prediction.
        probability: Mean audio-visual probability of the class over the windows of the segment.
        modalities: The same for ``audio``, ``visual`` and ``audio_visual``; None where the
            modality is missing in all windows.
        unknown: Mean unknown score of the windows, 0..1.
        is_unknown: Whether the windows were called unknown.
        num_windows: Number of windows.
    """

    file: str
    start_s: float
    end_s: float
    label: str
    probability: float
    modalities: Mapping[str, float | None]
    unknown: float
    is_unknown: bool
    num_windows: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values; ``file`` is encoded by `cign.utils.file_text.escape_name`."""
        return {
            "file": escape_name(self.file),
            "start_s": self.start_s,
            "end_s": self.end_s,
            "label": self.label,
            "probability": self.probability,
            "is_unknown": self.is_unknown,
            "unknown": self.unknown,
            "modalities": dict(self.modalities),
            "num_windows": self.num_windows,
            "error": None,
            "error_code": None,
        }


def default_every_s(model: Model) -> float:
    """Seconds between the starts of windows that segments are made of by default."""
    return EVERY * model.media_spec.window_s


def segment_step_s(model: Model, every_s: float | None) -> float:
    """Seconds between the starts of windows: those given, or the default.

    Raises:
        InputError: If parts of a recording would be in no window.
    """
    window_s = model.media_spec.window_s
    if every_s is not None and every_s > window_s:
        raise InputError(
            "bad-value",
            f"a window every {every_s:g} s leaves parts of a recording out, because windows of "
            f"this model are {window_s:g} s long: use at most {window_s:g} s for segments",
        )
    return default_every_s(model) if every_s is None else every_s
