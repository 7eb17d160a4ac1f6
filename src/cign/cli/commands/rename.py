"""`cign rename MODEL OLD NEW`: rename a class, or make one class of two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cign.cli.arguments import CommandParser, path
from cign.cli.commands.add import add_out, note_dropped
from cign.utils.terminal import say

if TYPE_CHECKING:
    from cign.updating.class_joining import JoinedClasses

SUMMARY = "Rename a class of a model, or make one class of two."
EXAMPLE = (
    "cign rename work/model 'old name' 'new name'\n"
    "cign rename work/model crow 'common raven' --merge"
)


def add_options(parser: CommandParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "model", metavar="MODEL", type=path, help="model folder; with --out also a run"
    )
    parser.add_argument("old", metavar="OLD", help="current name of the class")
    parser.add_argument("new", metavar="NEW", help="new name of the class")
    parser.add_argument(
        "--merge",
        action="store_true",
        help="NEW is another class of the model: the clips of OLD get its label, exactly as if "
        "they had been learned with it, and OLD is removed",
    )
    add_out(parser)


def run(options: Any) -> None:
    """Rename the class, or join it to another one."""
    from cign.saved_model.versions import changing

    with changing(options.model, options.out) as work:
        from cign.learner import Learner  # slow import: only after the model was found

        learner = Learner.load(work.place, device="cpu")
        if options.merge:
            _show(learner.join(options.old, options.new))
            assert learner.model is not None
            note_dropped(learner.model)
        else:
            learner.rename(options.old, options.new)
        assert learner.model is not None
        say(work.keep(learner.model))


def _show(joined: JoinedClasses) -> None:
    """Print the joined class and the effect."""
    from cign.updating.new_clips import num_clips

    say(f"{joined.second}: {num_clips(joined.num_clips)} now, with those of {joined.first}")
    if (effect := joined.effect) is not None:
        say(
            f"{num_clips(effect.num_clips)} for validation: accuracy {effect.before:.1f} % before, "
            f"{effect.after:.1f} % after"
        )
