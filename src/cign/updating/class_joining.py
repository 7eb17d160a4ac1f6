"""Join two classes of a model that are one: the model of learning their clips with one label.

It needs no clip, see `cign.methods.joining`. All of it is ours.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import numpy as np

from cign.errors import InputError
from cign.methods.capabilities import updatable
from cign.methods.joining import join_columns
from cign.saved_model.model import Model
from cign.saved_model.validation_clips import KeptClips
from cign.updating.edits import check_updatable, known_name, with_change
from cign.updating.impact import Effect, measure_effect
from cign.updating.merging import sums_of
from cign.utils.wording import counted


@dataclass(frozen=True, kw_only=True)
class JoinedClasses:
    """Two classes that are one now.

    Attributes:
        first: The removed class.
        second: The class that its clips have now.
        num_clips: Number of clips of the joined class, each counted by its weight and share.
        effect: Accuracy on the stored validation clips; before, a prediction of either class counts
            as one of the joined class. None without any.
    """

    first: str
    second: str
    num_clips: float
    effect: Effect | None


def join_classes(model: Model, first: str, second: str) -> tuple[Model, JoinedClasses]:
    """Give the clips of a class the label of another class, and remove the first one.

    Given the settings, which stay as they are, the result is the model that learned all these clips
    with one label: exact, up to rounding in float64.

    Args:
        model: A model of a closed-form method.
        first: The removed class.
        second: The class whose label its clips get.

    Returns:
        The new model, and the joined class.

    Raises:
        InputError: If a class is unknown, both are the same, the method has no sums, or a clip has
            both labels, which would count twice.
        RunError: If the ridge solution is singular.
    """
    check_updatable(model)
    first, second = known_name(model, first), known_name(model, second)
    if first == second:
        raise InputError("bad-value", f"{first!r} is given twice: name two classes")
    sums_of(model)
    _check_never_both(model, first, second)
    index, into = model.classes.index(first), model.classes.index(second)
    method = copy.deepcopy(model.method)
    groups = tuple(tuple(name for name in group if name != first) for group in model.groups)
    kept = None if model.kept is None else _with_one_label(model.kept, first, second)
    changed = replace(model, method=method, groups=groups, kept=kept)
    sums, solving = sums_of(changed), updatable(method)
    assert solving is not None
    join_columns(sums, index, into)
    solving.solve()
    effect = None
    if kept is not None:
        changed.unknown = kept.unknown_rule(method)
        before = tuple(second if name == first else name for name in model.classes)
        effect = measure_effect((model.method, before), (method, changed.classes), kept)
    joined = JoinedClasses(
        first=first,
        second=second,
        num_clips=counted(float(sums.class_clips[changed.classes.index(second)])),
        effect=effect,
    )
    return with_change(changed, f"joined {first} to {second}"), joined


def _check_never_both(model: Model, first: str, second: str) -> None:
    """Refuse classes that clips have together, where clips may have several labels.

    Raises:
        InputError: If there are such clips, or the model does not record the labels of all clips.
    """
    if not model.method.setup.multi_label:
        return  # shares of one clip sum to at most 1, also where both classes have some
    sums, columns = sums_of(model), [model.classes.index(name) for name in (first, second)]
    records = sums.records
    recorded = records.class_clips(len(model.classes))[columns]
    if bool((recorded != sums.class_clips[columns].to(recorded)).any()):
        raise InputError(
            "unsupported",
            f"this model does not record the labels of all clips of {first!r} and {second!r}, "
            "so that clips with both cannot be ruled out: train it again on a prepared store",
        )
    every = np.arange(len(records))
    both = int((records.shares(every, len(model.classes))[:, columns] > 0).all(dim=1).sum())
    if both:
        raise InputError(
            "unsupported",
            f"{both} {'clip has' if both == 1 else 'clips have'} both {first!r} and {second!r} and "
            "would count twice: give them new labels with `cign add --replace`",
        )


def _with_one_label(kept: KeptClips, first: str, second: str) -> KeptClips:
    """The validation clips with the label of the joined class, once for each clip."""
    renamed = kept.renamed(first, second)
    return replace(renamed, labels=tuple(tuple(dict.fromkeys(some)) for some in renamed.labels))
