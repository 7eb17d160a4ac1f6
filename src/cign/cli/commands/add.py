"""`cign add MODEL CLIPS`: teach a trained model more, without its old clips."""

from __future__ import annotations

import sys
from typing import Any

from cign.cli.arguments import (
    CommandParser,
    add_decoders,
    add_device,
    add_media,
    device_of,
    path,
    paths,
)
from cign.utils.terminal import make_progress, note, percent, say

SUMMARY = "Teach a trained model new classes, or more clips of known ones, without its old clips."
EXAMPLE = "cign add work/run new-clips --out work/model"


def add_options(parser: CommandParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("model", metavar="MODEL", type=path, help="a model; a run with --out")
    parser.add_argument(
        "clips",
        metavar="CLIPS",
        type=path,
        help="folder of class folders, CSV or Parquet table, or a prepared store",
    )
    parser.add_argument("--format", metavar="NAME", help="of the clips (default: found out)")
    add_media(parser)
    parser.add_argument(
        "--no-keep",
        dest="keep",
        action="store_false",
        help="keep none of these clips (default: up to 5 a class, as tokens, to measure costs)",
    )
    add_decoders(parser)
    add_device(parser)
    add_out(parser)


def add_out(parser: CommandParser) -> None:
    """Declare ``--out``, as all commands that change a model take it."""
    parser.add_argument(
        "--out", metavar="MODEL2", type=path, help="write a changed copy; MODEL stays as it is"
    )


def run(options: Any) -> None:
    """Learn, show what it costs, then keep it."""
    from cign.saved_model.versions import changing

    with changing(options.model, options.out) as work:
        from cign.learner import Learner  # takes seconds, for a model that is there

        learner = Learner.load(work.place, device=device_of(options))
        addition = learner.add(
            options.clips,
            format=options.format,
            media=paths(options.media),
            keep=options.keep,
            num_workers=options.workers,
            progress=make_progress(),
        )
        show(addition)
        sys.stdout.flush()  # what it costs is told before it is kept
        assert learner.model is not None
        say(work.keep(learner.model))


def show(addition: Any) -> None:
    """Say what was learned and what it costs."""
    from cign.updating.new_clips import num_clips

    for line in addition.notes:
        note(line)
    for title, counts in (("new classes", addition.new), ("more clips, merged", addition.known)):
        if counts:
            listed = ", ".join(f"{name} ({num_clips(n)})" for name, n in counts.items())
            say(f"{title}: {listed}")
    say(f"learned in {addition.seconds:.1f} s")
    if (cost := addition.cost) is not None:
        say(
            f"old classes, {num_clips(cost.num_clips)} kept: {percent(cost.before)} % right "
            f"before, {percent(cost.after)} % after; answers that change: "
            f"{percent(cost.to_new)} % to a new class, {percent(cost.to_old)} % to another old one"
        )
    else:
        say("old classes: no clips are kept with this model, the cost is not known")
    if addition.new_accuracy is not None:
        say(
            f"added clips, {addition.num_new_kept} not learned from: "
            f"{percent(addition.new_accuracy)} % right"
        )
    say(
        f"kept: statistics of {addition.state_bytes / 1e6:.1f} MB, "
        f"{num_clips(addition.num_kept)} of {addition.kept_bytes / 1e6:.1f} MB that nothing is "
        "learned from"
    )
