"""The clips that annotations describe: what the model shall have learned from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from cign.data.clips import check_times
from cign.data.formats.label_tools.label_studio_values import parts_of
from cign.data.formats.labels import listed_label
from cign.errors import CignError, InputError
from cign.integrations.label_studio.interface import (
    DEFAULT_FRAME_RATE,
    KINDS,
    Interface,
    read_interface,
)
from cign.integrations.label_studio.media import reference_of
from cign.integrations.label_studio.names import match_names
from cign.integrations.label_studio.records import Annotation, Key, Labels
from cign.saved_model.model import Model
from cign.updating.new_classes import check_name


@dataclass(kw_only=True)
class Wanted:
    """What annotations describe.

    Attributes:
        clips: The classes of each labelled clip.
        unclear: Recordings with an annotation that cannot be used: what the model learned of them
            before remains.
        problems: Why annotations cannot be used; one sentence each.
    """

    clips: dict[Key, Labels] = field(default_factory=dict)
    unclear: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)

    def refuse(self, annotation: Annotation, why: object) -> None:
        """Record an annotation that cannot be used, in whole or in part."""
        self.problems.append(f"annotation {annotation.id} of task {annotation.task}: {why}")
        texts = (value for value in annotation.data.values() if isinstance(value, str))
        self.unclear.update(text.strip() for text in texts)


def wanted_clips(
    annotations: Sequence[Annotation], interfaces: Mapping[str, str], model: Model
) -> Wanted:
    """Read annotations as labelled clips.

    Skipped tasks are not used; of a task with annotations that are marked as ground truth, these
    alone are. If annotations of the same part disagree, it is left as it is.

    Args:
        annotations: The annotations, those of a task one after another.
        interfaces: The labelling interface of each project.
        model: The model, which gives the classes.
    """
    wanted = Wanted()
    read: dict[str, Interface | CignError] = {}
    by: dict[Key, Annotation] = {}
    contradicted: set[Key] = set()
    order = sorted(annotations, key=lambda one: (one.project, one.task, one.id))
    for (project, _), group in groupby(order, key=lambda one: (one.project, one.task)):
        used = [one for one in group if not one.cancelled]
        if project not in read:
            read[project] = _read(interfaces.get(project))
        for annotation in [one for one in used if one.ground_truth] or used:
            interface = read[project]
            if isinstance(interface, CignError):
                wanted.refuse(annotation, interface)
                continue
            for key, labels in _clips(annotation, interface, model, wanted).items():
                earlier = wanted.clips.setdefault(key, labels)
                first = by.setdefault(key, annotation)
                if earlier != labels:
                    contradicted.add(key)
                    wanted.refuse(
                        annotation,
                        f"{key} is {'|'.join(labels)} here and {'|'.join(earlier)} in annotation "
                        f"{first.id}: correct or delete one of them, or mark one as ground truth",
                    )
    for key in contradicted:
        del wanted.clips[key]
    return wanted


def _read(text: str | None) -> Interface | CignError:
    try:
        return read_interface(text)
    except CignError as error:
        return error


def _clips(
    annotation: Annotation, interface: Interface, model: Model, wanted: Wanted
) -> dict[Key, Labels]:
    """The clips of an annotation; problems are recorded."""
    found: dict[Key, set[str]] = {}
    for result in annotation.result:
        if not isinstance(result, Mapping) or result.get("type") not in KINDS:
            continue  # texts, relations and the like
        try:
            for key, label in _labelled(annotation, result, interface, model):
                found.setdefault(key, set()).add(label)
        except CignError as error:
            wanted.refuse(annotation, error)
    for key in [key for key, labels in found.items() if len(labels) > 1]:
        if not model.method.setup.multi_label:
            labels = "|".join(sorted(found.pop(key)))
            wanted.refuse(
                annotation,
                f"{key} has several labels ({labels}), but this model was trained on clips with "
                "one label each: give it one",
            )
    return {key: tuple(sorted(labels)) for key, labels in found.items()}


def _labelled(
    annotation: Annotation, result: Mapping[str, Any], interface: Interface, model: Model
) -> Iterator[tuple[Key, str]]:
    """Yield the parts of a result, each with a class."""
    control = interface.control(result.get("from_name"))
    value = result.get("value")
    if control is None or not isinstance(value, Mapping):
        raise InputError(
            "unknown-name",
            f"control {result.get('from_name')!r} is not in the labelling interface of the "
            "project, or labels no audio or video: restore it, or correct the annotation",
        )
    reference = reference_of(annotation.data, control.field)
    names = match_names(control, model.classes)
    parts = parts_of(
        value, "its result", lambda: control.rate(annotation.data) or DEFAULT_FRAME_RATE
    )
    for part in parts or ():
        if part.start_s is not None and part.start_s == part.end_s:
            continue  # a point
        check_times(part.start_s, part.end_s, "its result")
        for label in part.labels:
            name = names.learned_as(str(label))
            yield Key(reference, part.start_s, part.end_s), _checked(name, model)


def _checked(name: str, model: Model) -> str:
    """A class name that a list may contain and, if it is new, the model may have."""
    name = listed_label(name, "its result")
    return name if name in model.classes else check_name(name)
