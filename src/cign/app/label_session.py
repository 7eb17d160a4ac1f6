"""Labels that were given on the page, in one file of the work folder, written after each action."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cign.errors import InputError
from cign.utils.files import read_json, write_json

FORMAT = 1
_KEY = re.compile(r"[0-9a-f]{64}")


@dataclass(kw_only=True)
class LabelSession:
    """What was decided; clips are named by their keys, see `cign.app.label_pool.ClipPool`.

    Whether a label is learned is not stored here: the model records it with each clip.

    Attributes:
        place: The file.
        labels: Class names of each labelled clip: one, or none for background.
        unsure: Clips that are not proposed again.
        fine: Clips whose learned label was found right, with that label.
        round: The clips that are proposed now, with the guesses of the model.
    """

    place: Path
    labels: dict[str, tuple[str, ...]] = field(default_factory=dict)
    unsure: list[str] = field(default_factory=list)
    fine: dict[str, tuple[str, ...]] = field(default_factory=dict)
    round: dict[str, tuple[tuple[str, float], ...]] = field(default_factory=dict)

    @classmethod
    def open(cls, place: Path) -> LabelSession:
        """Read the file, or begin without labels if there is none.

        Raises:
            InputError: If it is damaged or of a newer format.
        """
        if not place.exists():
            return cls(place=place)
        values = read_json(place, "labels")
        if isinstance(values, dict) and isinstance(values.get("format"), int):
            if values["format"] > FORMAT:
                raise InputError(
                    "wrong-version",
                    f"labels {place} have format {values['format']}, but this version reads "
                    f"formats up to {FORMAT}: update cign, or name another folder with --work",
                )
            try:
                return cls(
                    place=place,
                    labels=_named(values["labels"]),
                    unsure=[_checked(key) for key in values["unsure"]],
                    fine=_named(values["fine"]),
                    round={
                        _checked(key): tuple((str(name), float(p)) for name, p in guesses)
                        for key, guesses in values["round"].items()
                    },
                )
            except (KeyError, TypeError, ValueError, AttributeError):
                pass
        raise InputError(
            "damaged", f"labels {place} are damaged: restore the file, or move it away"
        )

    def save(self) -> None:
        """Write the file atomically."""
        write_json(
            self.place,
            {
                "format": FORMAT,
                "labels": {key: list(names) for key, names in self.labels.items()},
                "unsure": self.unsure,
                "fine": {key: list(names) for key, names in self.fine.items()},
                "round": {key: list(map(list, some)) for key, some in self.round.items()},
            },
        )

    def label(self, key: str, names: tuple[str, ...]) -> None:
        """Give a clip a label in place of an earlier one or of unsure."""
        self.labels[key] = names
        self.unsure = [one for one in self.unsure if one != key]
        self.fine.pop(key, None)

    def skip(self, key: str) -> None:
        """Skip a clip for the rest of the session."""
        self.labels.pop(key, None)
        if key not in self.unsure:
            self.unsure.append(key)

    def reopen(self, key: str) -> None:
        """Take back what was decided about a clip."""
        self.labels.pop(key, None)
        self.unsure = [one for one in self.unsure if one != key]

    def rename(self, old: str, new: str) -> None:
        """Use another class name in all labels."""
        for some in (self.labels, self.fine):
            for key, names in some.items():
                some[key] = tuple(new if name == old else name for name in names)

    @property
    def waiting(self) -> list[str]:
        """The proposed clips about which nothing was decided yet, in their order."""
        return [key for key in self.round if not self.is_decided(key)]

    def is_decided(self, key: str) -> bool:
        """Whether a clip is labelled or skipped."""
        return key in self.labels or key in self.unsure


def _named(values: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    return {_checked(key): tuple(map(str, names)) for key, names in values.items()}


def _checked(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise ValueError(key)
    return key
