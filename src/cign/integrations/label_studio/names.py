"""Labels of a labelling interface and the classes of a model: which stands for which."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from cign.errors import InputError
from cign.integrations.label_studio.interface import Control, Label


@dataclass(frozen=True, kw_only=True)
class Names:
    """The names of a control.

    Attributes:
        label_of: The label of each class that has one.
        class_of: The class of each label; labels of no class yet stand for a new one of their name.
            Empty for a label that stands for several classes.
        new: Labels of no class of the model.
        unlabelled: Classes of the model without a label.
    """

    label_of: dict[str, str]
    class_of: dict[str, str]
    new: tuple[str, ...]
    unlabelled: tuple[str, ...]

    def learned_as(self, label: str) -> str:
        """The class that clips with a label are learned as.

        Raises:
            InputError: If the interface has no such label, or it stands for several classes.
        """
        if label not in self.class_of:
            raise InputError(
                "unknown-name",
                f"label {label!r} is not in the labelling interface of the project: add it there, "
                "or correct the annotation",
            )
        if not self.class_of[label]:
            raise InputError(
                "bad-value",
                f"label {label!r} stands for several classes (predicted_values), so that clips "
                "with it cannot be learned: give each class a label of its own",
            )
        return self.class_of[label]


def match_names(control: Control, classes: Sequence[str]) -> Names:
    """Match labels and classes: by ``predicted_values``, by name, or but for upper and lower case.

    If two labels stand for a class, it has the first.
    """
    label_of: dict[str, str] = {}
    class_of: dict[str, str] = {}
    new = []
    for label in control.labels:
        found = _classes_of(label, classes)
        for name in found:
            label_of.setdefault(name, label.name)
        class_of.setdefault(label.name, _class_to_learn(label, found))
        if not found:
            new.append(label.name)
    return Names(
        label_of=label_of,
        class_of=class_of,
        new=tuple(new),
        unlabelled=tuple(name for name in classes if name not in label_of),
    )


def _classes_of(label: Label, classes: Sequence[str]) -> list[str]:
    """The classes that a label stands for."""
    listed = [name for name in label.predicted if name in classes]
    if listed:
        return listed
    for name in (label.name, label.value):
        if name in classes:
            return [name]
    for name in (label.name, label.value):
        alike = [one for one in classes if _folded(one) == _folded(name)]
        if len(alike) == 1:
            return alike
    return []


def _folded(name: str) -> str:
    """A name without the differences of case and of Unicode's forms."""
    return unicodedata.normalize("NFC", name.casefold())


def _class_to_learn(label: Label, found: Sequence[str]) -> str:
    """The class that clips with a label are learned as; empty if it cannot be told."""
    candidates = list(label.predicted) or list(found) or [label.name]
    if len(candidates) == 1:
        return candidates[0]
    return label.name if label.name in candidates else ""
