"""Changes of a trained model: add classes or clips, rename and remove classes.

Adding and removing need a closed-form method, whose state is a set of sums over clips. Every
function returns a new model and leaves its argument unchanged.
"""

from __future__ import annotations

import copy
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from cign.backbones.base import Backbone
from cign.data.batches import cut
from cign.data.media.decode import MediaSpec
from cign.data.prepare.features import is_feature_source
from cign.data.tasks import IntArray, TaskClips, TaskSequence
from cign.data.tokens import is_features
from cign.errors import InputError, one_of
from cign.methods import METHODS
from cign.methods.base import Method, TaskData
from cign.methods.capabilities import is_updatable, updatable
from cign.open_set.rule import UnknownRule
from cign.saved_model.model import Model
from cign.saved_model.validation_clips import KeptClips, joined, read_kept
from cign.training.arrival import ArrivalEstimate, estimate_at_arrival
from cign.training.feed import Feed
from cign.updating.impact import Addition, alike_classes, answers, measure_cost, right
from cign.updating.new_classes import check_name, new_classes
from cign.updating.new_clips import NewClips, num_clips
from cign.utils.devices import device_of
from cign.utils.wording import listed
from cign.vocabulary import EVALUATION_BATCH


def check_updatable(model: Model) -> None:
    """Refuse a model that cannot be changed without its old clips.

    Raises:
        InputError: If it was trained by gradients after its first task.
    """
    if updatable(model.method) is not None:
        return
    names = [name for name, method in METHODS.items() if is_updatable(method)]
    raise InputError(
        "unsupported",
        f"a model of method {model.method.name} cannot be changed without its old clips: use a "
        f"model of {' or '.join(names)}, or train {model.method.name} again on all clips",
    )


def known_name(model: Model, name: str) -> str:
    """The class of a model with this name, in any Unicode normal form.

    Raises:
        InputError: If there is no such class.
    """
    for one in (name, unicodedata.normalize("NFC", name)):
        if one in model.classes:
            return one
    raise one_of(name, model.classes, "class")


def encoders_for(
    model: Model, source: Path, format: str | None, backbone: Callable[[], Backbone | None]
) -> Backbone | MediaSpec | str | None:
    """What `opened` needs: the backbone, its name for features, or what a model's encoders take.

    Args:
        model: The model that is changed.
        source: A source that is no store.
        format: Format of the source, if it was named.
        backbone: Returns the model's backbone; None if the model contains its encoders.

    Raises:
        InputError: If only one of model and source holds features.
    """
    if not is_feature_source(source, format):
        encoders = backbone()
        return model.media_spec if encoders is None else encoders
    if not is_features(model.backbone):
        raise InputError(
            "wrong-format",
            f"source {source} holds features, but the model takes clips, which its backbone "
            f"{model.backbone} encodes: give the clips",
        )
    return model.backbone


def add_clips(model: Model, clips: NewClips) -> tuple[Model, Addition]:
    """Add new classes, or clips of known classes, to a model.

    Args:
        model: A model of a closed-form method.
        clips: The training clips and the validation clips to store.

    Returns:
        The new model, whose new classes form a task of their own, and the effect of the addition.

    Raises:
        InputError: If the method or a class name does not allow it.
        RunError: If the ridge solution is singular.
    """
    check_updatable(model)
    learned = Counter(name for i in clips.learned for name in clips.clips[i].labels)
    background = sum(clips.clips[i].is_background for i in clips.learned)
    new = new_classes(model, clips)
    groups = (*model.groups, new) if new else model.groups
    before, method = model.method, copy.deepcopy(model.method)
    estimate = _absorb(method, clips, groups, len(new))

    classes = tuple(name for group in groups for name in group)
    labels = [clip.likely_labels for clip in clips.clips]
    validation = read_kept(clips.source, labels, clips.validation)
    kept = joined(model.kept, read_kept(clips.source, labels, clips.kept))
    known = {name: number for name, number in learned.items() if name not in new}
    estimates = model.estimates if estimate is None else (*model.estimates, estimate)
    changed = replace(model, method=method, groups=groups, kept=kept, estimates=estimates)
    more = {"list_hash": clips.list_hash}
    if new:
        more["task"] = str(len(groups))
    changed = with_change(changed, _what_was_added(new, known, background), more)
    measured = joined(model.kept, validation)
    if measured is not None:
        changed.unknown = measured.unknown_rule(method)
    return changed, Addition(
        new={name: learned[name] for name in new},
        known=known,
        background=background,
        notes=clips.notes,
        cost=measure_cost(before, method, model.kept, classes),
        **_measured(changed, validation),
        estimate=estimate,
        alike=alike_classes(before, clips.source, labels, clips.learned, model.classes, new),
    )


def measured_again(addition: Addition, before: Model, after: Model, clips: NewClips) -> Addition:
    """An addition with the effect of a further change of the model.

    Args:
        addition: What was measured before that change.
        before: The model before the addition.
        after: The model after both.
        clips: See `add_clips`.
    """
    labels = [clip.likely_labels for clip in clips.clips]
    validation = read_kept(clips.source, labels, clips.validation)
    for name in set(addition.new).union(before.classes).difference(after.classes):
        validation = None if validation is None else validation.without(name)
    return replace(
        addition,
        cost=measure_cost(before.method, after.method, before.kept, after.classes)
        if after.classes[: len(before.classes)] == before.classes
        else addition.cost,
        **_measured(after, validation),
    )


def _measured(model: Model, validation: KeptClips | None) -> dict[str, Any]:
    """The numbers of an `Addition` that are those of the changed model."""
    method, kept = model.method, model.kept
    accuracy = None
    if validation is not None:
        accuracy = right(answers(method, validation), validation, model.classes)
    return {
        "num_new_kept": 0 if validation is None else validation.num_clips,
        "new_accuracy": accuracy,
        "num_kept": 0 if kept is None else kept.num_clips,
        "kept_bytes": 0 if kept is None else kept.num_bytes,
        "state_bytes": method.state_bytes,
    }


def _absorb(
    method: Method, clips: NewClips, groups: tuple[tuple[str, ...], ...], num_new: int
) -> ArrivalEstimate | None:
    """Train the method on the clips as the training loop does for a task."""
    task = len(groups) - 1
    tasks = TaskClips.of_clips(clips.clips, TaskSequence(groups), clips.hashes)
    device = device_of(method)
    feed = Feed(clips=tasks, source=clips.source, device=device)
    data = TaskData(
        task=task,
        num_old=method.num_classes,
        num_new=num_new,
        new=clips.learned,
        memory=_none(),
        earlier=_none(),
        batches=lambda indices: feed.batches(cut(indices, EVALUATION_BATCH), task),
        class_of=tasks.class_of,
        sources=lambda indices: [tasks.sources[i] for i in indices],
        features=lambda indices: feed.features(method, indices, task),
        bytes_per_clip=0,
        seed=0,
        identity=feed.identity(task),
    )
    if num_new:
        method.grow(num_new)
    method.before_task(data)
    method.to(device)
    for phase in method.phases(data):
        assert not phase.updates, "closed-form methods take no gradient steps"
        for batch in feed.batches(cut(phase.indices, phase.options.batch_size), task):
            method.learn(batch, phase)
    method.after_task(data)
    return estimate_at_arrival(method, data, clips.source)


def _none() -> IntArray:
    return np.zeros(0, dtype=np.int64)


def _what_was_added(new: tuple[str, ...], known: dict[str, int], background: int) -> str:
    parts = [f"added {listed(new, 5)}"] if new else []
    if known:
        parts.append(f"{sum(known.values())} more clips of {listed(known, 5)}")
    if background:
        parts.append(f"{num_clips(background)} of background")
    return ", ".join(parts)


def with_change(
    model: Model,
    text: str,
    more: Mapping[str, str] | None = None,
    *,
    changes_predictions: bool = True,
) -> Model:
    """The model with one more entry in its history.

    Args:
        model: A changed model.
        text: What was changed.
        more: Further entries, see `Model.changes`.
        changes_predictions: Whether predictions are other than before. Thresholds of classes are
            then dropped, because they were chosen for the earlier predictions.
    """
    change = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "text": text, **(more or {})}
    thresholds = model.thresholds
    if changes_predictions and thresholds is not None:
        change["dropped"] = "thresholds"
        thresholds = None
    return replace(model, changes=(*model.changes, change), thresholds=thresholds)


def rename_class(model: Model, old: str, new: str) -> Model:
    """Rename a class; works for every method and changes nothing else.

    Raises:
        InputError: If there is no such class, or the new name is taken or invalid.
    """
    old, new = known_name(model, old), check_name(new)
    if new in model.classes:
        raise InputError(
            "name-taken",
            f"class {new!r} exists already: use another name, or make one class of both with "
            "`cign rename MODEL OLD NEW --merge`",
        )
    groups = tuple(tuple(new if n == old else n for n in group) for group in model.groups)
    kept = None if model.kept is None else model.kept.renamed(old, new)
    thresholds = None if model.thresholds is None else model.thresholds.renamed(old, new)
    changed = replace(model, groups=groups, kept=kept, thresholds=thresholds)
    return with_change(changed, f"renamed {old} to {new}", changes_predictions=False)


def remove_class(model: Model, name: str) -> Model:
    """Remove a class: its columns, its clip count and its validation clips.

    The contribution of its clips to the Gram matrices remains: these are sums over all clips, not
    per class, so it cannot be subtracted.

    Raises:
        InputError: If there is no such class, it is the last one, or the method cannot do so.
    """
    check_updatable(model)
    name = known_name(model, name)
    if len(model.classes) == 1:
        raise InputError(
            "unsupported",
            f"class {name!r} is the last one and cannot be removed: delete the model instead",
        )
    method = copy.deepcopy(model.method)
    changing = updatable(method)
    assert changing is not None
    changing.remove_class(model.classes.index(name))
    groups = tuple(tuple(n for n in group if n != name) for group in model.groups)
    kept = None if model.kept is None else model.kept.without(name)
    unknown = rule_after_removal(model, method, kept)
    changed = replace(model, method=method, groups=groups, kept=kept, unknown=unknown)
    return with_change(changed, f"removed {name}")


def rule_after_removal(model: Model, method: Method, kept: KeptClips | None) -> UnknownRule:
    """The rule for unknown clips after validation clips or classes were removed.

    Args:
        model: The model before.
        method: Its changed method.
        kept: The validation clips that are left; without any no clip is called unknown, but a model
            that had none before keeps its rule.
    """
    if kept is not None:
        return kept.unknown_rule(method)
    return model.unknown if model.kept is None else UnknownRule()
