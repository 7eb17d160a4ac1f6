"""Annotations as they were received, and clips that were learned from them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

History = Sequence[Mapping[str, Any]]
"""Where a model comes from, then its changes."""


class Key(NamedTuple):
    """A labelled part of a recording.

    Attributes:
        reference: The recording as tasks name it.
        start_s: Start in seconds; the start of the recording if absent.
        end_s: End in seconds; the end of the recording if absent.
    """

    reference: str
    start_s: float | None
    end_s: float | None

    def __str__(self) -> str:
        if self.start_s is None and self.end_s is None:
            return self.reference
        return f"{self.reference} from {self.start_s:g} to {self.end_s:g} s"


Labels = tuple[str, ...]
"""Class names in ascending order."""


class Learned(NamedTuple):
    """A clip that the model has learned.

    Attributes:
        labels: Its classes.
        content: Hash of its decoded content, in hexadecimal digits.
    """

    labels: Labels
    content: str


@dataclass(frozen=True, kw_only=True)
class Annotation:
    """An annotation as Label Studio sent it.

    Attributes:
        project: Identifies the project, also among those of other servers.
        id: Its number.
        task: The number of its task.
        data: The data of the task.
        result: Its results.
        ground_truth: Whether it is marked as ground truth.
        cancelled: Whether the task was skipped.
        updated_at: Date and time of its last change in ISO 8601; empty if unknown.
    """

    project: str
    id: int
    task: int
    data: Mapping[str, Any]
    result: Sequence[Any]
    ground_truth: bool = False
    cancelled: bool = False
    updated_at: str = ""

    @property
    def hash(self) -> str:
        """Checksum of everything that decides what is learned."""
        return digest([self.task, self.data, self.result, self.ground_truth, self.cancelled])


def dumps(value: object) -> str:
    """A value as JSON in ASCII, the same each time for the same value."""
    return json.dumps(value, sort_keys=True)


def digest(value: object) -> str:
    """Checksum of a value."""
    # Not in ASCII: other checksums would not match those of earlier versions.
    text = json.dumps(value, ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
