"""`cign remove MODEL CLASS`: a class less."""

from __future__ import annotations

from typing import Any

from cign.cli.arguments import CommandParser, path
from cign.cli.commands.add import add_out
from cign.utils.terminal import say

SUMMARY = "Have a model forget a class."
EXAMPLE = "cign remove work/model 'a class'"


def add_options(parser: CommandParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("model", metavar="MODEL", type=path, help="a model; a run with --out")
    parser.add_argument("name", metavar="CLASS", help="name of the class")
    add_out(parser)


def run(options: Any) -> None:
    """Remove, and say what cannot be removed."""
    from cign.saved_model.versions import changing

    with changing(options.model, options.out) as work:
        from cign.learner import Learner  # takes seconds, for a model that is there

        learner = Learner.load(work.place, device="cpu")
        learner.remove(options.name)
        assert learner.model is not None
        say(
            f"{options.name}: its answers, its count and its kept clips are gone; what its clips "
            "added to the sums over all clips stays, and earlier versions keep all of it"
        )
        say(work.keep(learner.model))
