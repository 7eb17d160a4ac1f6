"""`cign rename MODEL OLD NEW`: another name for a class."""

from __future__ import annotations

from typing import Any

from cign.cli.arguments import CommandParser, path
from cign.cli.commands.add import add_out
from cign.utils.terminal import say

SUMMARY = "Give a class of a model another name."
EXAMPLE = "cign rename work/model 'old name' 'new name'"


def add_options(parser: CommandParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("model", metavar="MODEL", type=path, help="a model; a run with --out")
    parser.add_argument("old", metavar="OLD", help="name of the class")
    parser.add_argument("new", metavar="NEW", help="its name from now on")
    add_out(parser)


def run(options: Any) -> None:
    """Rename."""
    from cign.saved_model.versions import changing

    with changing(options.model, options.out) as work:
        from cign.learner import Learner  # takes seconds, for a model that is there

        learner = Learner.load(work.place, device="cpu")
        learner.rename(options.old, options.new)
        assert learner.model is not None
        say(work.keep(learner.model))
