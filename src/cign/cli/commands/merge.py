"""`cign merge A B`: merge trained models, without any clip."""

from __future__ import annotations

from typing import Any

from cign.cli.arguments import (
    CommandParser,
    add_changed_model,
    add_reading,
    path,
    reading_of,
)
from cign.cli.commands.add import add_out, show_and_keep
from cign.utils.terminal import note, percent, say

SUMMARY = "Merge trained models into one that knows the classes and clips of all, without any clip."
EXAMPLE = "cign merge work/birds work/street --out work/both"


def add_options(parser: CommandParser) -> None:
    """Declare the arguments."""
    add_changed_model(parser)
    parser.add_argument(
        "others", metavar="OTHER", type=path, nargs="+", help="models or runs to merge into it"
    )
    parser.add_argument(
        "--settings",
        metavar="A|B|select",
        help="whose settings are used if the models differ: A for those of MODEL, B, C, ... for "
        "those of the others in their order, or select, by the losses that the models measured",
    )
    parser.add_argument(
        "--once",
        metavar="CLIPS",
        type=path,
        help="clips that several models have learned (folder, table or prepared store): they count "
        "once; without this option they count several times, which is reported",
    )
    add_reading(parser, "CLIPS")
    add_out(parser)
    parser.add_argument(
        "--json", action="store_true", help="print what was merged as JSON and nothing else"
    )


def run(options: Any) -> None:
    """Merge the models, show the effect on accuracy, then save the result."""
    from cign.saved_model.versions import changing

    with changing(options.model, options.out) as work:
        from cign.learner import Learner  # slow import: only after the model was found

        learner = Learner.load(work.place, device="cpu")
        merged = learner.merge(
            *options.others,
            settings=options.settings,
            once=options.once,
            **reading_of(options),
        )
        show_and_keep(merged, show, work, learner, as_json=options.json)


def show(merged: Any) -> None:
    """Print what was merged and its effect on the validation clips of each model."""
    from cign.updating.merging import LETTERS
    from cign.updating.new_clips import num_clips
    from cign.utils.wording import listed

    for line in merged.notes:
        note(line)
    if merged.num_twice:
        note(
            "learned by several models, so that they count several times: "
            f"{num_clips(merged.num_twice)}; give them with --once to count them once"
        )
    if merged.num_once:
        say(f"learned by several models, counted once: {num_clips(merged.num_once)}")
    for title, names in (("new classes", merged.new), ("in several models", merged.shared)):
        if names:
            shown = listed((f"{name} ({num_clips(merged.clips[name])})" for name in names), 20)
            say(f"{title}: {shown}", fit=True)
    if merged.background:
        say(f"background, with none of the classes: {num_clips(merged.background)}")
    if merged.selected:
        whose = {"": "all models", "select": "a new selection by the added losses"}
        origin = whose.get(merged.settings, f"model {merged.settings}")
        say(f"settings of {origin}: {merged.selected}", fit=True)
    for letter, effect in zip(LETTERS, merged.effects, strict=False):
        if effect is None:
            say(f"model {letter} stores no validation clips, so the effect on it is unknown")
        else:
            say(
                f"model {letter}, {num_clips(effect.num_clips)} for validation: accuracy "
                f"{percent(effect.before)} % before, {percent(effect.after)} % after",
                fit=True,
            )
