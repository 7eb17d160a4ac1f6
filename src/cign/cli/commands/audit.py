"""`cign audit MODEL CLIPS`: which learned clips may have a wrong label."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from cign.cli.arguments import (
    CommandParser,
    add_device,
    add_engine,
    add_model,
    add_reading,
    check_execution,
    device_of,
    path,
    reading_of,
    whole,
)
from cign.saved_model.hub import refuse_missing
from cign.utils.terminal import note, rule_character, say

SUMMARY = "Find learned clips whose labels may be wrong, without other clips."
EXAMPLE = "cign audit work/run work/store\ncign audit work/run work/store --out work/audit"

_LEAST_LABEL = 12
_SUGGESTED = {"replace": "{}", "remove": "remove it", "add": "and {}"}


def add_options(parser: CommandParser) -> None:
    """Declare the arguments."""
    add_model(parser)
    add_learned_clips(parser, nargs="+")
    parser.add_argument(
        "--most", metavar="N", type=whole(1), default=20, help="labels in the table (default: 20)"
    )
    parser.add_argument(
        "--out",
        metavar="FILE|DIR",
        type=path,
        help="a .csv file for all clips, the most suspicious first; or a folder for the same and a "
        "page with frames and audio, on which labels can be corrected",
    )
    add_device(parser)
    add_engine(parser)
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")


def add_learned_clips(parser: CommandParser, *, nargs: str | None = None) -> None:
    """Declare the clips that a model learned, and how they are decoded."""
    parser.add_argument(
        "clips",
        metavar="CLIPS",
        type=path,
        nargs=nargs,
        help="the clips that the model learned: a prepared store"
        + (", several of them" if nargs == "+" else "")
        + ", or the folder or table that is decoded again",
    )
    add_reading(parser)


def run(options: Any) -> None:
    """Judge the labels; show the most suspicious ones."""
    if options.out is not None:
        from cign.labelling.audit_files import check_audit_out

        check_audit_out(options.out)
    check_execution(options)
    refuse_missing(options.model)
    from cign.learner import Learner

    learner = Learner.load(options.model, device=device_of(options))
    audit = learner.audit(
        options.clips,
        out=options.out,
        engine=options.engine,
        **reading_of(options),
    )
    if options.json:
        say(json.dumps(audit.to_dict(), indent=2, ensure_ascii=False))
    else:
        _show(audit, options.most)
    if options.out is not None:
        is_file = options.out.suffix.lower() == ".csv"
        note(f"all labels in {options.out if is_file else options.out / 'audit.csv'}")
        if not is_file:
            note(f"page for corrections: {options.out / 'audit.html'}")


def _show(audit: Any, most: int) -> None:
    """How many labels are suspicious, the first of them, and what was not judged."""
    from cign.updating.new_clips import num_clips

    for line in audit.notes:
        note(line)
    without = "any clip of its source" if audit.left_out == "sources" else "it"
    number = len(audit.suspicious)
    clips = num_clips(len(audit.clips))
    say(
        f"{number} suspicious label{'s' if number != 1 else ''} in {clips}, with a score above "
        f"{audit.threshold:.3f}: without {without}, "
        f"the model gives the label less than 1/{audit.num_classes} of its usual support",
        fit=True,
    )
    if audit.not_judged:
        say(
            f"not judged: {num_clips(len(audit.not_judged))}, because of a class with clips of a "
            "single source",
            fit=True,
        )
    for line in _table(audit, audit.doubts[:most]):
        say(line)
    if number > most:
        say(f"and {number - most} more suspicious ones: --most N shows more, --out lists all")


def _table(audit: Any, doubts: Sequence[Any]) -> Iterator[str]:
    """The lines of a table that fits the terminal; a pipe has no width."""
    from cign.cli.commands.predict_table import Column, Table, fit

    if not doubts:
        return
    file = Column("clip", [audit.clips[one.clip].id for one in doubts], has_words=False)
    label = Column("label", [one.label or "-" for one in doubts])
    suggested = Column("suggested", [_SUGGESTED[one.kind].format(one.suggested) for one in doubts])
    score = Column("score", [f"{one.score:.4f}" for one in doubts], is_number=True)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    if width is not None:
        suggested.width = min(suggested.width, max(_LEAST_LABEL, width // 4))
        fit(file, [label], width - suggested.width - score.width - 6)
    yield ""
    table = Table([file, label, suggested, score], [""] * len(doubts), [], width)
    yield from table.lines(rule_character())
