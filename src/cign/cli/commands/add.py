"""`cign add MODEL CLIPS`: add classes or clips to a trained model, without its old clips."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable
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
from cign.utils.terminal import note, percent, say
from cign.utils.wording import listed

SUMMARY = "Add new classes, or clips of known classes, to a trained model without its old clips."
EXAMPLE = "cign add work/run new-clips --out work/model"


def add_options(parser: CommandParser) -> None:
    """Declare the arguments."""
    add_changed_model(parser)
    parser.add_argument(
        "clips",
        metavar="CLIPS",
        type=path,
        help="folder of class folders, CSV or Parquet table, or a prepared store",
    )
    add_reading(parser)
    parser.add_argument(
        "--no-keep",
        dest="keep",
        action="store_false",
        help="store no validation clips (default: tokens of up to 5 clips per class, which measure "
        "the effect of changes on accuracy)",
    )
    parser.add_argument(
        "--replace",
        action="store_true",
        help="learn clips that the model learned before with their new labels alone (default: they "
        "count twice, which is reported)",
    )
    add_device(parser)
    add_out(parser)
    parser.add_argument(
        "--json", action="store_true", help="print what was learned as JSON and nothing else"
    )


def add_out(parser: CommandParser) -> None:
    """Declare ``--out``, for commands that change a model."""
    parser.add_argument(
        "--out",
        metavar="MODEL2",
        type=path,
        help="write a changed copy to MODEL2; MODEL is unchanged",
    )


def run(options: Any) -> None:
    """Learn the clips, show the effect on accuracy, then save the model."""
    from cign.saved_model.versions import changing

    with changing(options.model, options.out) as work:
        from cign.learner import Learner  # slow import: only after the model was found

        learner = Learner.load(work.place, device=device_of(options))
        addition = learner.add(
            options.clips,
            keep=options.keep,
            replace=options.replace,
            **reading_of(options),
        )
        show_and_keep(addition, show, work, learner, as_json=options.json)


def show_and_keep(
    effect: Any, show: Callable[[Any], None], work: Any, learner: Any, *, as_json: bool = False
) -> None:
    """Show the effect of a change, as JSON alone or in words, before the model is saved.

    Args:
        effect: The effect, a dataclass.
        show: Prints it in words.
        work: Of `cign.saved_model.versions.changing`.
        learner: Has the changed model.
        as_json: Whether to print JSON.
    """
    if as_json:
        say(json.dumps(dataclasses.asdict(effect), indent=2, ensure_ascii=False))
    else:
        show(effect)
    sys.stdout.flush()
    note_dropped(learner.model)
    kept = work.keep(learner.model)
    if not as_json:
        say(kept)


def note_dropped(model: Any) -> None:
    """Say that a change dropped the thresholds of classes, if it did."""
    if model.changes[-1].get("dropped") == "thresholds":
        note(
            "the thresholds of classes were chosen for the model before this change and are "
            "dropped: `cign thresholds` chooses others"
        )


def show(addition: Any) -> None:
    """Print what was learned and its effect on old classes."""
    from cign.updating.new_clips import num_clips

    for line in addition.notes:
        note(line)
    for title, counts in (("new classes", addition.new), ("more clips, merged", addition.known)):
        if counts:
            numbers = ", ".join(f"{name} ({num_clips(n)})" for name, n in counts.items())
            say(f"{title}: {numbers}", fit=True)
    if addition.background:
        say(f"background, with none of the classes: {num_clips(addition.background)}")
    if addition.num_replaced:
        say(f"earlier labels forgotten: {num_clips(addition.num_replaced)}")
    if addition.removed:
        say(f"removed, because no clip is left: {listed(addition.removed, 5)}", fit=True)
    for alike in addition.alike:
        say(str(alike), fit=True)
    say(f"learned in {addition.seconds:.1f} s")
    if (cost := addition.cost) is not None:
        say(
            f"old classes, {num_clips(cost.num_clips)} for validation: accuracy "
            f"{percent(cost.before)} % before, {percent(cost.after)} % after; changed predictions: "
            f"{percent(cost.to_new)} % to a new class, {percent(cost.to_old)} % to another old one",
            fit=True,
        )
    else:
        say("old classes: this model stores no validation clips, so the effect is unknown")
    if addition.new_accuracy is not None:
        say(
            f"added clips, {addition.num_new_kept} held out: "
            f"accuracy {percent(addition.new_accuracy)} %"
        )
    if addition.estimate is not None:
        say(str(addition.estimate), fit=True)
    say(
        f"stored: statistics of {addition.state_bytes / 1e6:.1f} MB and "
        f"{num_clips(addition.num_kept)} of {addition.kept_bytes / 1e6:.1f} MB for validation, "
        "never for training",
        fit=True,
    )
