"""`cign versions MODEL`: what was changed and when, and the way back."""

from __future__ import annotations

from typing import Any

from cign.cli.arguments import CommandParser, add_model
from cign.utils.terminal import say, show_table

SUMMARY = "List the versions of a model, or go back to the one before."
EXAMPLE = "cign versions work/model"


def add_options(parser: CommandParser) -> None:
    """Declare what the command takes."""
    add_model(parser)
    parser.add_argument(
        "--undo", action="store_true", help="drop the current version, the one before answers again"
    )


def run(options: Any) -> None:
    """List, or go back."""
    from cign.saved_model.versions import list_versions, undo

    if options.undo:
        number = undo(options.model)
        say(f"{options.model}: version {number} again")
        return
    show_table(
        ("version", "change", "date", "classes", "kept clips"),
        (
            (
                f"{one.number}{' (current)' if one.is_current else ''}",
                one.text,
                one.date or None,
                one.num_classes,
                one.num_kept,
            )
            for one in list_versions(options.model)
        ),
        num_text=3,
    )
