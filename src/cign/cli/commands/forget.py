"""`cign forget MODEL CLIPS`: a trained model as if it had never learned some clips."""

from __future__ import annotations

from typing import Any

from cign.cli.arguments import (
    CommandParser,
    add_changed_model,
    add_device,
    add_reading,
    device_of,
    path,
    reading_of,
)
from cign.cli.commands.add import add_out, show_and_keep
from cign.utils.terminal import note, percent, say

SUMMARY = "Forget clips, as if the model had never learned them."
EXAMPLE = "cign forget work/model withdrawn-clips\ncign forget work/model clips --class dog_bark"


def add_options(parser: CommandParser) -> None:
    """Declare the arguments."""
    add_changed_model(parser)
    parser.add_argument(
        "clips",
        metavar="CLIPS",
        type=path,
        help="the clips: folder of class folders, CSV or Parquet table, or a prepared store; they "
        "are recognised by their content, and their labels have no effect",
    )
    parser.add_argument(
        "--class",
        dest="class_name",
        metavar="NAME",
        help="forget only those of CLIPS that were learned as this class",
    )
    parser.add_argument(
        "--only-learned",
        action="store_true",
        help="leave out clips that the model never learned (default: refuse them)",
    )
    parser.add_argument(
        "--reset-selection",
        action="store_true",
        help="also drop the losses by which the settings were selected, in which the clips had a "
        "part; the settings are the default ones until more clips are added",
    )
    add_reading(parser)
    add_device(parser)
    add_out(parser)
    parser.add_argument(
        "--json", action="store_true", help="print what was forgotten as JSON and nothing else"
    )


def run(options: Any) -> None:
    """Forget the clips, show the effect on accuracy, then save the model."""
    from cign.saved_model.versions import changing

    with changing(options.model, options.out) as work:
        from cign.learner import Learner  # slow import: only after the model was found

        learner = Learner.load(work.place, device=device_of(options))
        forgotten = learner.forget(
            options.clips,
            class_name=options.class_name,
            only_learned=options.only_learned,
            reset_selection=options.reset_selection,
            **reading_of(options),
        )
        show_and_keep(forgotten, show, work, learner, as_json=options.json)


def show(forgotten: Any) -> None:
    """Print what was forgotten and its effect."""
    from cign.updating.new_clips import num_clips

    for line in forgotten.notes:
        note(line)
    if forgotten.num_left_out:
        say(f"left out, never learned: {num_clips(forgotten.num_left_out)}")
    if forgotten.clips:
        names = ", ".join(f"{name} ({num_clips(n)})" for name, n in forgotten.clips.items())
        say(f"forgotten: {names}", fit=True)
    elif number := forgotten.num_clips - forgotten.num_background:
        say(f"forgotten, of removed classes: {num_clips(number)}")
    if forgotten.num_background:
        say(f"forgotten, background: {num_clips(forgotten.num_background)}")
    if forgotten.num_validation:
        say(f"forgotten, stored for validation: {num_clips(forgotten.num_validation)}")
    if forgotten.removed:
        say(f"classes without clips, removed: {', '.join(forgotten.removed)}", fit=True)
    if forgotten.changed:
        say(f"settings selected without these clips: {forgotten.changed}", fit=True)
    effect = forgotten.effect
    if effect is not None:
        say(
            f"{num_clips(effect.num_clips)} for validation: accuracy "
            f"{percent(effect.before)} % before, {percent(effect.after)} % after",
            fit=True,
        )
    say(f"forgotten in {forgotten.seconds:.1f} s")
