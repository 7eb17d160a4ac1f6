"""What the backend needs of the model that it serves."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from cign.backbones.base import Backbone
from cign.saved_model.files import state_of
from cign.saved_model.model import Model
from cign.saved_model.versions import Version

T = TypeVar("T")


class ServedModel(Protocol):
    """A served model that may be changed by others, too."""

    @property
    def place(self) -> Path:
        """The MODEL folder."""

    @property
    def can_teach(self) -> bool:
        """Whether the model may be changed."""

    @property
    def model(self) -> Model:
        """The current model."""

    def backbone(self, model: Model) -> Backbone | None:
        """Its frozen backbone; None if the method holds its encoders."""

    def change(self, how: Callable[[Model], tuple[Model, T]]) -> tuple[T, int]:
        """Change the model by a function; gives its result and the number of the new version."""

    def versions(self) -> Sequence[Version]:
        """All versions, the current one last."""


def version_name(service: ServedModel) -> str:
    """Name of the version in use: its number, and a part of the checksum of its description.

    Undoing a change and making another one gives the same number, but not the same name, so that
    Label Studio does not take old predictions for new ones.
    """
    return named(service.versions()[-1].number, state_of(service.place))


def named(number: int, state: str | None) -> str:
    """Name of a version, from its number and the checksum of its description."""
    return f"v{number}-{hashlib.sha256((state or '').encode()).hexdigest()[:8]}"
