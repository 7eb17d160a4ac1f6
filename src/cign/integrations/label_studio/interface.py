"""The labelling interface of a project: the controls that a classifier of recordings can fill."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any
from xml.etree.ElementTree import Element

from cign.data.formats.label_tools.label_studio_values import Target
from cign.data.formats.label_tools.text import number_of, parse_xml_text
from cign.errors import InputError

MAX_BYTES = 2**20
# What Label Studio assumes for a video without `frameRate`; its timeline counts frames with it.
DEFAULT_FRAME_RATE = Fraction(24)
_OBJECTS = {"audio": "audio", "audioplus": "audio", "video": "video"}
# Tag of a control -> tag of its labels, and the objects that it may label.
_CONTROLS = {
    "choices": ("Choice", ("audio", "video")),
    "labels": ("Label", ("audio",)),
    "timelinelabels": ("Label", ("video",)),
}
KINDS = tuple(_CONTROLS)  # also the types of their results
_FIELD = re.compile(r"\$([^\s${}\[\]]+)")
_WHAT = "the labelling interface of the project"
NEEDED = "Choices for Audio or Video, Labels for Audio, or TimelineLabels for Video"


@dataclass(frozen=True, kw_only=True)
class Label:
    """A label that annotators can choose.

    Attributes:
        name: Its name in results: its alias, or its value without one.
        value: Its name on the page.
        predicted: The model's classes that it stands for, if the interface lists them in
            ``predicted_values``.
    """

    name: str
    value: str
    predicted: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Control:
    """A control of the labelling interface.

    Attributes:
        target: Its name, and that of the audio or video that it labels.
        kind: ``choices``, ``labels`` or ``timelinelabels``.
        labels: Its labels.
        field: The field of a task's data that names the recording.
        frame_rate: Frames per second of the timeline, or the field of the task that states it.
        is_multiple: Whether several choices may be chosen.
        per_region: Whether choices are those of regions, which the model does not predict.
        min_probability: Least probability of a prediction (``model_score_threshold``).
    """

    target: Target
    kind: str
    labels: tuple[Label, ...]
    field: str
    frame_rate: str = ""
    is_multiple: bool = False
    per_region: bool = False
    min_probability: float = 0.0

    @property
    def takes_regions(self) -> bool:
        """Whether its results are parts of a recording."""
        return self.kind != "choices"

    def rate(self, data: Mapping[str, Any]) -> Fraction | None:
        """Frames per second of the timeline for a task; None for audio.

        Raises:
            InputError: If the interface or the task states no positive number.
        """
        if self.kind != "timelinelabels":
            return None
        return _frame_rate(self, data)


@dataclass(frozen=True, kw_only=True)
class Interface:
    """The usable part of a labelling interface.

    Attributes:
        controls: The controls.
        ignored: Why others are not used; one clause each.
    """

    controls: tuple[Control, ...]
    ignored: tuple[str, ...] = ()

    def control(self, from_name: object) -> Control | None:
        """The control with a name; None if it is missing or not usable."""
        found = (one for one in self.controls if one.target.from_name == from_name)
        return next(found, None)


def read_interface(text: object) -> Interface:
    """Read the XML of a labelling interface.

    Raises:
        InputError: If it is no XML, too large, or has no control that can be used.
    """
    if not isinstance(text, str) or not text.strip():
        raise InputError(
            "missing-option", f"{_WHAT} is empty: add a control, which may be {NEEDED}"
        )
    content = text.encode("utf-8", "replace")
    if len(content) > MAX_BYTES:
        raise InputError("bad-value", f"{_WHAT} has more than {MAX_BYTES} bytes: shorten it")
    root = parse_xml_text(content, _WHAT)
    objects = {
        tag.attrib["name"]: tag
        for tag in root.iter()
        if tag.tag.lower() in _OBJECTS and tag.attrib.get("name")
    }
    controls, ignored = [], []
    for tag in root.iter():
        if not tag.attrib.get("name") or not tag.attrib.get("toName"):
            continue
        control, why = _control(tag, objects)
        if control is not None:
            controls.append(control)
        else:
            ignored.append(f"{tag.tag} {tag.attrib['name']!r} {why}")
    if not any(not one.per_region for one in controls):
        why = f" ({'; '.join(ignored[:3])})" if ignored else ""
        raise InputError(
            "unsupported", f"{_WHAT} has no control that the model can fill{why}: add {NEEDED}"
        )
    return Interface(controls=tuple(controls), ignored=tuple(ignored))


def _control(tag: Element, objects: Mapping[str, Element]) -> tuple[Control | None, str]:
    """The control of a tag, or None and why it is not used."""
    kind = tag.tag.lower()
    if kind not in _CONTROLS:
        return None, "is of another kind"
    label_tag, allowed = _CONTROLS[kind]
    names = [name.strip() for name in tag.attrib["toName"].split(",")]
    fitting = [n for n in names if n in objects and _OBJECTS[objects[n].tag.lower()] in allowed]
    if not fitting:
        return None, f"labels no {' or '.join(allowed)}"
    media = objects[fitting[0]]
    field = _FIELD.fullmatch(media.attrib.get("value", "").strip())
    if field is None:
        return None, f"labels {fitting[0]!r}, whose value is not a field such as $video"
    labels = tuple(_labels(tag, label_tag))
    if not labels:
        return None, "lists no label of its own"
    return Control(
        target=Target(tag.attrib["name"], fitting[0]),
        kind=kind,
        labels=labels,
        field=field[1],
        frame_rate=media.attrib.get("frameRate", media.attrib.get("framerate", "")).strip(),
        is_multiple=tag.attrib.get("choice", "").lower() == "multiple",
        per_region=_is_true(tag.attrib.get("perRegion")),
        min_probability=number_of(tag.attrib.get("model_score_threshold")) or 0.0,
    ), ""


def _labels(tag: Element, label_tag: str) -> Iterator[Label]:
    """The labels of a control; those that are fields of a task are left out."""
    for one in tag.iter():
        if one.tag.lower() != label_tag.lower() or one is tag:
            continue
        value = one.attrib.get("value", "")
        name = one.attrib.get("alias") or value
        if not name or name.startswith("$"):
            continue
        listed = (text.strip() for text in one.attrib.get("predicted_values", "").split(","))
        yield Label(name=name, value=value, predicted=tuple(text for text in listed if text))


def _frame_rate(control: Control, data: Mapping[str, Any]) -> Fraction:
    text: Any = control.frame_rate
    field = _FIELD.fullmatch(control.frame_rate)
    if field is not None:
        text = data.get(field[1])
    if text in ("", None):
        return DEFAULT_FRAME_RATE
    rate = number_of(text)
    if rate is None or not 0 < rate < 1e6:
        raise InputError(
            "bad-value",
            f"the frame rate of {control.target.to_name!r} is {text!r}: give frameRate a positive "
            "number of frames per second",
        )
    # Below 1 it is the duration of a frame in seconds.
    return Fraction(rate).limit_denominator(10**6) ** (1 if rate >= 1 else -1)


def _is_true(text: str | None) -> bool:
    return (text or "").lower() == "true"
