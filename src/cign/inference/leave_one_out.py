"""Predictions of the clips that a model learned by the solutions without their sources.

They give the expected accuracy on new recordings without test clips, suspicious labels
(`cign.labelling.auditing`) and thresholds of classes (`cign.labelling.thresholds`).

Legend: n learned clips, C classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cign.data.batches import ArraySource, cut
from cign.data.clips import Clip
from cign.data.tasks import IntArray, TaskClips, TaskSequence
from cign.errors import InputError
from cign.inference.engines import Engine, Here
from cign.inference.evaluate import results_of
from cign.inference.left_out_pieces import PieceScoring
from cign.inference.sources import LearnedClips
from cign.methods import METHODS
from cign.methods.capabilities import leaves_out, num_background, sums_of_views
from cign.methods.left_out import ClipsToLeaveOut, LeftOutPredictions
from cign.saved_model.model import Model
from cign.training.arrival import counted_predictions, reason_without
from cign.training.feed import Feed
from cign.training.scoring import fall_back_to_present_modality
from cign.utils.devices import device_of
from cign.utils.progress import Progress, Silent
from cign.vocabulary import EVALUATION_BATCH, MODALITIES


@dataclass(frozen=True, kw_only=True)
class LearnedPredictions:
    """The clips that a model learned, each predicted by the solution without its sources.

    Attributes:
        clips: The learned clips, in the order of their source.
        left_out: The same, as the method takes them.
        found: Predictions in the same order.
        source: Tells which modalities each clip has.
    """

    clips: tuple[Clip, ...]
    left_out: ClipsToLeaveOut
    found: LeftOutPredictions
    source: ArraySource

    @property
    def targets(self) -> NDArray[np.bool_]:
        """Labels, shape [n, C]."""
        return self.found.targets.cpu().numpy().astype(bool)

    @property
    def is_counted(self) -> NDArray[np.bool_]:
        """Whether the prediction of a clip says anything about its labels, shape [n].

        It does not if a class of the clip has no clip of another source, or if the solution without
        its source is singular.
        """
        found = self.found
        counted = found.has_class_left & found.is_singular.logical_not()
        return counted.cpu().numpy().astype(bool)

    def probabilities(self) -> dict[str, NDArray[np.float64]]:
        """Probabilities by modality, shape [n, C]; a missing modality has those of the other."""
        scores = {m: self.found.probabilities[m].double().cpu().numpy().copy() for m in MODALITIES}
        fall_back_to_present_modality(scores, *self.source.availability(self.left_out.indices))
        return scores


def check_leaves_out(model: Model) -> None:
    """Refuse a model that cannot predict clips as if it had not learned them.

    Raises:
        InputError: If its method cannot, or its encoders were trained on the clips.
    """
    if leaves_out(model.method) is not None:
        if model.method.setup.backbone is None:
            return
        raise InputError(
            "unsupported",
            "the encoders of this model were trained on its clips, which cannot be left out of "
            "them: evaluate it on test clips, or train with --regime frozen",
        )
    names = [name for name, method in METHODS.items() if hasattr(method, "predict_left_out")]
    raise InputError(
        "unsupported",
        f"a model of method {model.method.name} cannot leave out a clip without training again: "
        f"evaluate it on test clips, or use a model of {' or '.join(names)}",
    )


def predict_left_out(
    model: Model,
    learned: LearnedClips,
    *,
    only_some: bool = False,
    engine: Engine | None = None,
    progress: Progress | None = None,
) -> LearnedPredictions:
    """Predict the clips that a model learned, each by the solution without its sources.

    Args:
        model: A model for which `check_leaves_out` passes.
        learned: Candidates for the clips that it learned.
        only_some: Whether the first candidates are known to be learned and may be a part of the
            clips that were. The others stay in the solutions, also those of the same sources.
        engine: Where the clips are scored; None for this process.
        progress: Receives the progress of clips.

    Raises:
        InputError: If the clips are not those that the model learned, or none can be counted.
    """
    method, leaving = model.method, leaves_out(model.method)
    assert leaving is not None
    tasks = TaskClips.of_clips(learned.clips, TaskSequence(model.groups))
    indices = learned.candidates[0]
    if not only_some:
        indices = _with_counts(model, learned, tasks, leaving.class_clips.cpu().numpy())
    feed = Feed(clips=tasks, source=learned.source, device=device_of(method))
    last_task = len(model.groups) - 1

    def batches(some: IntArray) -> Iterator[Any]:
        return feed.batches(cut(some, EVALUATION_BATCH), last_task)

    clips = ClipsToLeaveOut(
        indices=indices, sources=[tasks.sources[i] for i in indices], batches=batches
    )
    on, sums = engine or Here(model), sums_of_views(method)
    if sums is not None:
        scoring = PieceScoring(sums, learned, tasks, clips, on, progress or Silent())
        found = leaving.predict_left_out(clips, scoring)
    elif on.is_remote:
        raise InputError(
            "unsupported",
            f"method {method.name} leaves out clips in a way of its own, which a cluster cannot "
            "distribute: use --engine local",
        )
    else:
        found = leaving.predict_left_out(clips)
    if not found.are_all and not only_some:
        raise InputError(
            "store-mismatch",
            f"the {len(indices)} train clips of {learned.where} have the model's classes, but are "
            "not the clips that it learned: use the store it was trained on",
        )
    if not bool(found.targets.any()):
        raise InputError("no-clips", f"{learned.where} has no clip of a class: use another store")
    if reason := reason_without(found):
        raise InputError("no-clips", f"no clip of {learned.where} can be left out, {reason}")
    return LearnedPredictions(
        clips=tuple(learned.clips[i] for i in indices),
        left_out=clips,
        found=found,
        source=learned.source,
    )


def evaluate_left_out(model: Model, learned: LearnedClips) -> dict[str, Any]:
    """Evaluate a model on the clips it learned, each by the solution without its sources.

    Args:
        model: A model for which `check_leaves_out` passes.
        learned: Candidates for the clips that it learned.

    Returns:
        The entries of `cign.inference.evaluate.results_of`, and ``loo``: ``num_learned`` clips,
        ``num_alone`` of these that are not counted because a class of theirs has no clip of another
        source, ``alone``, the names of classes with such clips only, ``num_singular``, and what was
        ``left_out``: ``sources``, or ``clips`` if no two share a source.

    Raises:
        InputError: If the clips are not those that the model learned, or none can be counted.
    """
    of_clips = predict_left_out(model, learned)
    clips, found = of_clips.left_out, of_clips.found
    names = [clip.id for clip in of_clips.clips]
    predictions = counted_predictions(found, clips, learned.source, names, model.classes)
    result = results_of(predictions)
    result["loo"] = {
        "num_learned": int(found.targets.any(dim=1).sum()),
        "num_alone": int((found.has_class_left.logical_not()).sum()),
        "alone": [one["name"] for one in result["classes"] if one["num_clips"] == 0],
        "num_singular": int(found.is_singular.sum()),
        "left_out": "sources" if clips.share_sources else "clips",
    }
    return result


def _with_counts(
    model: Model, learned: LearnedClips, tasks: TaskClips, counts: NDArray[np.float64]
) -> IntArray:
    """The first candidates with as many clips of each class, and of background, as were learned.

    Raises:
        InputError: If there are none.
    """
    wanted = np.array([*counts, num_background(model.method)])
    candidates = [
        np.concatenate([_known(some, tasks, only=only), background])
        for some in learned.candidates
        for background in (_background(some, tasks), some[:0])
        for only in (True, False)
    ]
    for some in candidates:
        if _are_equal(_numbers(some, tasks), wanted).all():
            return np.sort(some)
    have = _numbers(candidates[0], tasks)
    first = int(np.flatnonzero(~_are_equal(have, wanted))[0])
    what = f"class {model.classes[first]!r}" if first < len(counts) else "background"
    raise InputError(
        "store-mismatch",
        f"{learned.where} has {have[first]:.6g} train clips of {what}, but the model learned "
        f"{wanted[first]:.6g}: use a store of all clips that it learned, additions included",
    )


def _numbers(indices: IntArray, tasks: TaskClips) -> NDArray[np.float64]:
    """Number of clips of each class, then of background, with weights and shares; [C + 1]."""
    shares = tasks.targets if tasks.shares is None else tasks.shares
    weights = np.ones(len(indices)) if tasks.weights is None else tasks.weights[indices]
    is_background = np.isin(indices, _background(indices, tasks))
    return np.array([*(weights @ shares[indices]), weights @ is_background])


def _are_equal(have: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether numbers of clips are equal, up to the rounding of sums of weights."""
    return np.isclose(have, wanted, rtol=1e-9, atol=1e-9)


def _background(indices: IntArray, tasks: TaskClips) -> IntArray:
    """The background clips among some clips."""
    return indices[:0] if tasks.background is None else indices[tasks.background[indices]]


def _known(indices: IntArray, tasks: TaskClips, *, only: bool) -> IntArray:
    """Clips whose classes are all known; or any, because classes may have been removed."""
    if only:
        return np.asarray(indices[tasks.task_of_clip[indices] >= 0])
    return np.asarray(indices[tasks.targets[indices].any(axis=1)])
