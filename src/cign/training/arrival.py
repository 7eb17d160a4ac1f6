"""Leave-one-out accuracy of a task's clips when they arrive, without test clips."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from cign.data.batches import ClipSource
from cign.methods.base import Method, TaskData
from cign.methods.capabilities import leaves_out
from cign.methods.leave_one_out import without_background
from cign.methods.left_out import ClipsToLeaveOut, LeftOutPredictions
from cign.metrics.incremental import is_multi_label, last, seen_accuracy
from cign.metrics.predictions import Predictions
from cign.training.scoring import fall_back_to_present_modality
from cign.vocabulary import MODALITIES

MEASURES = {"accuracy": "accuracy", "map": "mean average precision"}


@dataclass(frozen=True, kw_only=True)
class ArrivalEstimate:
    """Expected accuracy on new recordings of the classes of a task, from its own clips.

    Every clip is predicted, over all classes seen, by the solution without all clips of the task
    that share a source with it.

    Attributes:
        task: Number of the task, from 1.
        num_classes: Number of classes seen, k.
        num_clips: Number of clips that were counted.
        num_alone: Number of clips that were not counted, because a class of theirs has no clip of
            another source and would never be recognised.
        left_out: ``sources``, or ``clips`` if no two clips share a source.
        measure: ``accuracy``, or ``map`` if clips have several labels.
        percent: By modality, in percent; empty without an estimate.
        reason: Why there is no estimate; empty if there is one.
    """

    task: int
    num_classes: int
    num_clips: int
    num_alone: int
    left_out: str
    measure: str
    percent: dict[str, float]
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The inverse of `to_dict`."""
        return cls(**values)

    def __str__(self) -> str:
        classes = "class" if self.num_classes == 1 else "classes"
        name = MEASURES[self.measure]
        begin = f"leave-one-out {name} at arrival, over {self.num_classes} {classes}"
        if self.reason:
            return f"{begin}: none, {self.reason}"
        audio, visual, both = (self.percent[one] for one in ("audio", "visual", "audio_visual"))
        text = (
            f"{begin}: {both:.1f} % (audio {audio:.1f}, visual {visual:.1f}), "
            f"{_clips(self.num_clips)}, {_LEFT_OUT[self.left_out]}"
        )
        if self.num_alone:
            text += f"; not counted: {_clips(self.num_alone)} of classes with a single source"
        return text


_LEFT_OUT = {
    "sources": "each predicted without its source",
    "clips": "each predicted without itself",
}


def _clips(number: int) -> str:
    return f"{number} clip{'' if number == 1 else 's'}"


def estimate_at_arrival(
    method: Method, data: TaskData, source: ClipSource
) -> ArrivalEstimate | None:
    """Estimate the accuracy on new recordings of a task's classes, after the task was learned.

    Args:
        method: The method.
        data: The task.
        source: Tells which modalities each clip has.

    Returns:
        The estimate; None if the method cannot leave clips out.
    """
    leaving, new = leaves_out(method), data.new
    if leaving is not None and bool((data.class_of(new) < 0).any()):
        new = without_background(data)
    if leaving is None or len(new) == 0:
        return None
    if method.setup.backbone is not None and data.num_old == 0:
        return _without_estimate(method, data, "because its clips trained the encoders")
    clips = ClipsToLeaveOut(indices=new, sources=data.sources(new), batches=data.batches)
    found = leaving.predict_left_out(clips)
    predictions = counted_predictions(
        found,
        clips,
        source,
        [str(i) for i in new],
        tuple(str(c) for c in range(method.num_classes)),
    )
    measure = "map" if is_multi_label(predictions) else "accuracy"
    percent = {}
    if predictions.num_clips:
        for modality in MODALITIES:
            value = last(100.0 * seen_accuracy(predictions, modality))
            assert value is not None
            percent[modality] = value
    return ArrivalEstimate(
        task=data.task + 1,
        num_classes=method.num_classes,
        num_clips=predictions.num_clips,
        num_alone=int((found.has_class_left.logical_not()).sum()),
        left_out="sources" if clips.share_sources else "clips",
        measure=measure,
        percent=percent,
        reason=reason_without(found),
    )


def _without_estimate(method: Method, data: TaskData, reason: str) -> ArrivalEstimate:
    """The entry of a task whose clips cannot be left out."""
    return ArrivalEstimate(
        task=data.task + 1,
        num_classes=method.num_classes,
        num_clips=0,
        num_alone=0,
        left_out="clips",
        measure="map" if method.setup.multi_label else "accuracy",
        percent={},
        reason=reason,
    )


def reason_without(found: LeftOutPredictions) -> str:
    """Why no clip can be counted; empty if any can."""
    if bool((found.has_class_left & found.is_singular.logical_not()).any()):
        return ""
    if not bool(found.has_class_left.any()):
        return (
            "because every clip has a class with clips of a single source: add clips of other "
            "recordings of each class"
        )
    return "because the solutions without a source are singular: use a higher ridge"


def counted_predictions(
    found: LeftOutPredictions,
    clips: ClipsToLeaveOut,
    source: ClipSource,
    names: list[str],
    classes: tuple[str, ...],
) -> Predictions:
    """The predictions of those clips that can be counted.

    Args:
        found: Predictions of the clips.
        clips: The clips.
        source: Tells which modalities each clip has.
        names: Names of the clips.
        classes: Names of the classes.
    """
    counted = (found.has_class_left & found.is_singular.logical_not()).cpu().numpy()
    counted &= found.targets.any(dim=1).cpu().numpy()  # not background
    scores = {m: found.probabilities[m].float().cpu().numpy()[counted] for m in MODALITIES}
    fall_back_to_present_modality(scores, *source.availability(clips.indices[counted]))
    targets = found.targets.cpu().numpy()[counted]
    predictions = Predictions(
        clip_ids=[names[i] for i in np.flatnonzero(counted)],
        labels=[tuple(classes[c] for c in np.flatnonzero(row)) for row in targets],
        class_names=classes,
        task_sizes=(len(classes),),
    )
    predictions.add_task(scores)
    return predictions
