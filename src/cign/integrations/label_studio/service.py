"""What the backend needs of the model that it serves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

from cign.backbones.base import Backbone
from cign.saved_model.files import current_number, state_of
from cign.saved_model.model import Model
from cign.serving.model_service import Snapshot

T = TypeVar("T")


class ServedModel(Protocol):
    """A served model that may be changed by others, too."""

    @property
    def place(self) -> Path:
        """The MODEL folder."""

    def refreshed(self) -> Snapshot:
        """The version in the folder; the one in memory if that cannot be loaded."""

    def backbone(self, model: Model) -> Backbone | None:
        """Its frozen backbone; None if the method holds its encoders."""

    def change(self, how: Callable[[Model], tuple[Model, T]]) -> tuple[T, int]:
        """Change the model by a function; gives its result and the number of the new version."""


def version_name(snapshot: Snapshot) -> str:
    """Name of a version: its number, and a part of the checksum of its description.

    Undoing a change and making another one gives the same number, but not the same name, so that
    Label Studio does not take old predictions for new ones.
    """
    return _named(snapshot.version, snapshot.checksum)


def current_version(place: Path) -> str:
    """Name of the version in a MODEL folder, which is read without loading the model."""
    return _named(current_number(place) or 1, state_of(place) or "")


def _named(number: int, checksum: str) -> str:
    return f"v{number}-{checksum[:8]}"
