"""Interface for reporting progress; `cign.utils.terminal` implements the display."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable


class Progress(Protocol):
    """Receives the progress of one stage of work after another."""

    def start(self, title: str, total: int) -> None:
        """Start a stage of ``total`` steps; ends the previous stage."""

    def advance(self, steps: int = 1) -> None:
        """Report ``steps`` more finished steps."""

    def note(self, text: str) -> None:
        """Show one line of text."""

    def stop(self) -> None:
        """End the last stage."""


@runtime_checkable
class Measuring(Protocol):
    """A progress that also shows measurements of a stage, such as the loss."""

    def measure(self, unit: str, detail: Callable[[], str]) -> None:
        """Describe the stage that was just started.

        Args:
            unit: Name of a step in the plural, for example ``steps``.
            detail: Returns a text for the next line, or an empty one. It is called only when a line
                is drawn, because reading a value synchronizes host and device.
        """


class Silent:
    """A progress that shows nothing, for use as a library and in tests."""

    def start(self, title: str, total: int) -> None:
        """Ignore."""

    def advance(self, steps: int = 1) -> None:
        """Ignore."""

    def note(self, text: str) -> None:
        """Ignore."""

    def stop(self) -> None:
        """Ignore."""
