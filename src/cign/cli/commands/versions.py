"""`cign versions MODEL`: list the changes of a model, revert the last, or delete earlier ones."""

from __future__ import annotations

from typing import Any

from cign.cli.arguments import CommandParser, add_model
from cign.errors import InputError
from cign.utils.terminal import say, show_table

SUMMARY = "List the versions of a model, revert to the previous one, or delete the earlier ones."
EXAMPLE = "cign versions work/model"


def add_options(parser: CommandParser) -> None:
    """Declare the arguments."""
    add_model(parser)
    parser.add_argument(
        "--undo",
        action="store_true",
        help="delete the current version and revert to the previous one",
    )
    parser.add_argument(
        "--prune",
        action="store_true",
        help="delete all versions before the current one, which may contain forgotten clips",
    )


def run(options: Any) -> None:
    """List the versions, revert to the previous one, or delete the earlier ones."""
    from cign.saved_model.versions import list_versions, prune, undo

    if options.undo and options.prune:
        raise InputError("conflicting-options", "--undo and --prune exclude each other: give one")
    if options.undo:
        number = undo(options.model)
        say(f"{options.model}: reverted to version {number}")
        return
    if options.prune:
        numbers = prune(options.model)
        names = f"versions {', '.join(map(str, numbers))}" if numbers else "no version"
        say(f"{options.model}: deleted {names}")
        return
    versions = list_versions(options.model)
    has_background = any(one.background for one in versions)
    headings = ("version", "change", "date", "classes", "validation clips")
    show_table(
        (*headings, "background clips") if has_background else headings,
        (
            (
                f"{one.number}{' (current)' if one.is_current else ''}",
                one.text,
                one.date or None,
                one.num_classes,
                one.num_kept,
                *((one.background,) if has_background else ()),
            )
            for one in versions
        ),
        num_text=3,
    )
