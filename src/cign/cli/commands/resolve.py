"""`cign resolve MODEL`: solve a trained model again with other settings, without any clip."""

from __future__ import annotations

from typing import Any

from cign.cli.arguments import (
    CommandParser,
    add_changed_model,
)
from cign.cli.commands.add import add_out, show_and_keep
from cign.utils.terminal import percent, say

SUMMARY = "Solve a trained model again with another ridge or other settings, without any clip."
EXAMPLE = "cign resolve work/model --ridge audio=300,visual=100\ncign resolve work/model --select"


def add_options(parser: CommandParser) -> None:
    """Declare the arguments."""
    add_changed_model(parser)
    parser.add_argument(
        "--ridge",
        metavar="X|audio=X,visual=X",
        help="ridge strength of both modalities or of each; the same as --set ridge=X or "
        "--set audio.ridge=X",
    )
    parser.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="another setting, for both modalities or one, for example temperature=0.2 or "
        "visual.count_power=0; repeatable",
    )
    parser.add_argument(
        "--select",
        action="store_true",
        help="select the settings again, by the losses of all learned clips",
    )
    add_out(parser)


def run(options: Any) -> None:
    """Solve the sums, show the effect on accuracy, then save the result."""
    from cign.saved_model.versions import changing
    from cign.utils.options import with_settings

    given = with_settings({}, [*options.settings, *_ridges(options.ridge)])
    with changing(options.model, options.out) as work:
        from cign.learner import Learner  # slow import: only after the model was found

        learner = Learner.load(work.place, device="cpu")
        resolved = learner.resolve(given, select=options.select)
        show_and_keep(resolved, show, work, learner)


def show(resolved: Any) -> None:
    """Print what was changed and its effect on the validation clips."""
    from cign.updating.new_clips import num_clips

    say(f"changed: {resolved.changed or 'nothing'}", fit=True)
    effect = resolved.effect
    if effect is None:
        say(
            "this model stores no validation clips: the effect on accuracy is unknown, and the "
            "threshold of unknown clips is as before"
        )
    else:
        say(
            f"{num_clips(effect.num_clips)} for validation: accuracy "
            f"{percent(effect.before)} % before, {percent(effect.after)} % after",
            fit=True,
        )


def _ridges(text: str | None) -> list[str]:
    """``--ridge`` in the form of ``--set``."""
    if text is None:
        return []
    if "=" not in text:
        return [f"ridge={text}"]
    pairs = (part.strip().partition("=") for part in text.split(","))
    return [f"{modality}.ridge={value}" for modality, _, value in pairs]
