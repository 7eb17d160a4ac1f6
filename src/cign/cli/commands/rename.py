"""`cign rename MODEL OLD NEW`: rename a class."""

from __future__ import annotations

from typing import Any

from cign.cli.arguments import CommandParser, path
from cign.cli.commands.add import add_out
from cign.utils.terminal import say

SUMMARY = "Rename a class of a model."
EXAMPLE = "cign rename work/model 'old name' 'new name'"


def add_options(parser: CommandParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "model", metavar="MODEL", type=path, help="model folder; with --out also a run"
    )
    parser.add_argument("old", metavar="OLD", help="current name of the class")
    parser.add_argument("new", metavar="NEW", help="new name of the class")
    add_out(parser)


def run(options: Any) -> None:
    """Rename the class."""
    from cign.saved_model.versions import changing

    with changing(options.model, options.out) as work:
        from cign.learner import Learner  # slow import: only after the model was found

        learner = Learner.load(work.place, device="cpu")
        learner.rename(options.old, options.new)
        assert learner.model is not None
        say(work.keep(learner.model))
