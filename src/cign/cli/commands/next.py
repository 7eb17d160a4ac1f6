"""`cign next MODEL CLIPS`: which unlabelled clips to label next."""

from __future__ import annotations

import json
import shutil
import sys
from typing import Any

from cign.cli.arguments import (
    CommandParser,
    add_device,
    add_engine,
    add_media,
    add_model,
    check_execution,
    device_of,
    path,
    paths,
    whole,
)
from cign.saved_model.hub import refuse_missing
from cign.utils.terminal import make_progress, note, rule_character, say

SUMMARY = "Propose unlabelled clips to label next: those from which a model would learn the most."
EXAMPLE = "cign next work/model new-clips --number 20 --out list.csv\ncign add work/model list.csv"
_MOST_NAMED = 5


def add_options(parser: CommandParser) -> None:
    """Declare the arguments."""
    add_model(parser)
    parser.add_argument(
        "clips",
        metavar="CLIPS",
        type=path,
        nargs="+",
        help="folder of media files in any layout, list of clips, prepared store, or several stores"
        "; labels are ignored, of splits only train is used, and clips that the model learned are "
        "left out",
    )
    parser.add_argument(
        "--number", metavar="N", type=whole(1), required=True, help="clips to propose"
    )
    parser.add_argument("--format", metavar="NAME", help="format of the clips (default: detected)")
    add_media(parser)
    parser.add_argument(
        "--out",
        metavar="FILE",
        type=path,
        help="write a .csv list of the clips; fill in its labels, and `cign add` it",
    )
    add_device(parser)
    add_engine(parser)
    parser.add_argument(
        "--workers",
        metavar="N",
        type=whole(1),
        help="with --engine ray: calls at a time (default: as many as its processors take)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")


def run(options: Any) -> None:
    """Propose clips, list them, and write them for labelling."""
    from cign.labelling.proposals import check_list

    if options.out is not None:
        check_list(options.out)
    check_execution(options)
    refuse_missing(options.model)
    from cign.learner import Learner  # slow import: only after the model was found

    learner = Learner.load(options.model, device=device_of(options))
    found = learner.next(
        options.clips,
        number=options.number,
        format=options.format,
        media=paths(options.media),
        engine=options.engine,
        num_workers=options.workers,
        progress=make_progress(),
    )
    if options.json:
        say(json.dumps(found.to_dict(), indent=2, ensure_ascii=False))
    else:
        _show(found, options.number)
    if options.out is not None:
        root = found.write(options.out)
        media = "" if root is None else f" --media {root}"
        note(
            f"{options.out} written: fill in its column labels, remove the rows without a label, "
            f"and run `cign add {options.model} {options.out}{media}`"
        )


def _show(found: Any, number: int) -> None:
    """The proposals as a table; what was left out as notes."""
    for line in found.notes:
        note(line)
    for name, why in found.unreadable[:_MOST_NAMED]:
        note(f"left out, not decoded: {name} ({why})")
    if len(found.unreadable) > _MOST_NAMED:
        note(f"left out, not decoded: {len(found.unreadable) - _MOST_NAMED} others")
    if len(found) < number:
        note(f"fewer than {number}: all {len(found)} clips are proposed")
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for line in _table(found.proposals, width).lines(rule_character()):
        say(line)


def _table(proposals: Any, width: int | None) -> Any:
    """File, guesses, margin and unknown score of each proposal.

    Args:
        proposals: The proposals.
        width: Width of the terminal in characters; None for lines of any length.
    """
    from cign.cli.commands.predict_table import GAP, Column, Table, fit, printable

    file = Column("file", [printable(one.clip.id) for one in proposals], has_words=False)
    guesses = [
        Column(heading, [_guess(one, place) for one in proposals])
        for place, heading in enumerate(("first guess", "second guess"))
    ]
    numbers = [
        Column("margin", [f"{one.margin:.2f}" for one in proposals], is_number=True),
        Column("unknown", [f"{one.unknown:.2f}" for one in proposals], is_number=True),
    ]
    columns = [file, *guesses, *numbers]
    if width is not None:
        taken = sum(one.width for one in numbers) + len(GAP) * (len(columns) - 1)
        fit(file, guesses, width - taken)
    return Table(columns, [""] * len(proposals), [], width)


def _guess(proposal: Any, place: int) -> str:
    """A class and its probability; a dash if the model has no such class."""
    if place >= len(proposal.guesses):
        return "-"
    label, probability = proposal.guesses[place]
    return f"{probability:.2f} {label}"
