"""How long work reports that it moves on; what is drawn is the terminal's affair."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable


class Progress(Protocol):
    """Receives the progress of one stage of work after another."""

    def start(self, title: str, total: int) -> None:
        """Begin a stage of ``total`` steps; ends the stage before it."""

    def advance(self, steps: int = 1) -> None:
        """Report that ``steps`` more steps are done."""

    def note(self, text: str) -> None:
        """Show one line of text."""

    def stop(self) -> None:
        """End the last stage."""


@runtime_checkable
class Measuring(Protocol):
    """A progress that also shows what is measured during a stage, such as the loss."""

    def measure(self, unit: str, detail: Callable[[], str]) -> None:
        """Describe the stage that has just been started.

        Args:
            unit: What is counted, in the plural, for example ``steps``.
            detail: Gives a text for the next line, or an empty one. It is called only when a line
                is drawn, since reading a value makes the host wait for the device.
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
