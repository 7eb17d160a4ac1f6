"""How long work reports that it moves on; what is drawn is the terminal's affair."""

from __future__ import annotations

from typing import Protocol


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
