"""`cign versions MODEL`: list the changes of a model with their dates, or revert the last."""

from __future__ import annotations

from typing import Any

from cign.cli.arguments import CommandParser, add_model
from cign.utils.terminal import say, show_table

SUMMARY = "List the versions of a model, or revert to the previous one."
EXAMPLE = "cign versions work/model"


def add_options(parser: CommandParser) -> None:
    """Declare the arguments."""
    add_model(parser)
    parser.add_argument(
        "--undo",
        action="store_true",
        help="delete the current version and revert to the previous one",
    )


def run(options: Any) -> None:
    """List the versions, or revert to the previous one."""
    from cign.saved_model.versions import list_versions, undo

    if options.undo:
        number = undo(options.model)
        say(f"{options.model}: reverted to version {number}")
        return
    show_table(
        ("version", "change", "date", "classes", "validation clips"),
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
