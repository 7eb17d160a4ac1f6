"""`cign remove MODEL CLASS`: remove a class."""

from __future__ import annotations

from typing import Any

from cign.cli.arguments import CommandParser, path
from cign.cli.commands.add import add_out, note_dropped
from cign.utils.terminal import say

SUMMARY = "Remove a class from a model."
EXAMPLE = "cign remove work/model 'a class'"


def add_options(parser: CommandParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "model", metavar="MODEL", type=path, help="model folder; with --out also a run"
    )
    parser.add_argument("name", metavar="CLASS", help="name of the class")
    add_out(parser)


def run(options: Any) -> None:
    """Remove the class, and report which traces of its clips remain."""
    from cign.saved_model.versions import changing

    with changing(options.model, options.out) as work:
        from cign.learner import Learner  # slow import: only after the model was found

        learner = Learner.load(work.place, device="cpu")
        learner.remove(options.name)
        assert learner.model is not None
        say(
            f"{options.name}: removed its outputs, its clip count and its validation clips; the "
            "contribution of its clips to the sums over all clips remains, and earlier versions "
            "are unchanged"
        )
        note_dropped(learner.model)
        say(work.keep(learner.model))
