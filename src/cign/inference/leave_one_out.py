"""Expected accuracy of a model on new recordings, from the clips it learned, without test clips."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cign.data.batches import cut
from cign.data.tasks import IntArray, TaskClips, TaskSequence
from cign.errors import InputError
from cign.inference.evaluate import results_of
from cign.inference.sources import LearnedClips
from cign.methods import METHODS
from cign.methods.capabilities import leaves_out
from cign.methods.left_out import ClipsToLeaveOut
from cign.saved_model.model import Model
from cign.training.arrival import counted_predictions, reason_without
from cign.training.feed import Feed
from cign.utils.devices import device_of
from cign.vocabulary import EVALUATION_BATCH


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
    method, leaving = model.method, leaves_out(model.method)
    assert leaving is not None
    labels = [clip.labels for clip in learned.clips]
    sources = [clip.source for clip in learned.clips]
    tasks = TaskClips.of(labels, TaskSequence(model.groups), sources)
    counts = leaving.class_clips.cpu().numpy().round().astype(np.int64)
    indices = _with_counts(model, learned, tasks, counts)
    feed = Feed(clips=tasks, source=learned.source, device=device_of(method))
    last_task = len(model.groups) - 1

    def batches(some: IntArray) -> Iterator[Any]:
        return feed.batches(cut(some, EVALUATION_BATCH), last_task)

    clips = ClipsToLeaveOut(
        indices=indices, sources=[tasks.sources[i] for i in indices], batches=batches
    )
    found = leaving.predict_left_out(clips)
    if not found.are_all:
        raise InputError(
            "store-mismatch",
            f"the {len(indices)} train clips of {learned.where} have the model's classes, but are "
            "not the clips that it learned: use the store it was trained on",
        )
    if reason := reason_without(found):
        raise InputError("no-clips", f"no clip of {learned.where} can be left out, {reason}")
    names = [learned.clips[i].id for i in indices]
    predictions = counted_predictions(found, clips, learned.source, names, model.classes)
    result = results_of(predictions)
    result["loo"] = {
        "num_learned": len(indices),
        "num_alone": int((found.has_class_left.logical_not()).sum()),
        "alone": [one["name"] for one in result["classes"] if one["num_clips"] == 0],
        "num_singular": int(found.is_singular.sum()),
        "left_out": "sources" if clips.share_sources else "clips",
    }
    return result


def _with_counts(
    model: Model, learned: LearnedClips, tasks: TaskClips, counts: NDArray[np.int64]
) -> IntArray:
    """The first candidates with as many clips of each class as the model learned.

    Raises:
        InputError: If there are none.
    """
    candidates = [
        _known(some, tasks, only=only) for some in learned.candidates for only in (True, False)
    ]
    for some in candidates:
        if np.array_equal(tasks.targets[some].sum(axis=0), counts):
            return some
    have = tasks.targets[candidates[0]].sum(axis=0)
    first = int(np.flatnonzero(have != counts)[0])
    raise InputError(
        "store-mismatch",
        f"{learned.where} has {have[first]} train clips of class {model.classes[first]!r}, but the "
        f"model learned {counts[first]}: use a store of all clips that it learned, additions "
        "included",
    )


def _known(indices: IntArray, tasks: TaskClips, *, only: bool) -> IntArray:
    """Clips whose classes are all known; or any, because classes may have been removed."""
    if only:
        return np.asarray(indices[tasks.task_of_clip[indices] >= 0])
    return np.asarray(indices[tasks.targets[indices].any(axis=1)])
