"""`cign predict --segments`: options, table and label files of segments."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from cign.cli.arguments import CommandParser, path, probability, seconds_from_0
from cign.errors import InputError, one_of
from cign.utils import wording
from cign.utils.terminal import note, rule_character, say

# Options that have no effect without --segments.
_RULES = ("enter", "leave", "least", "bridge")
_OPTIONS = (*_RULES, "to", "out", "unknown")
_NOTE_EVERY_S = 10.0


def add_segment_options(parser: CommandParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--segments",
        action="store_true",
        help="merge the windows of long files into segments: from when to when each class is "
        "present",
    )
    for name, text in (
        (
            "enter",
            "probability from which a segment begins (default: 0.5, or that of `thresholds`)",
        ),
        ("leave", "probability below which a segment ends (default: 0.6 of --enter)"),
    ):
        parser.add_argument(f"--{name}", metavar="P", type=probability, help=text)
    for name, text in (
        ("least", "leave out shorter segments (default: 3/4 of the model's window)"),
        ("bridge", "join segments of a class over gaps up to this (default: 3/4 of the window)"),
    ):
        parser.add_argument(f"--{name}", metavar="SECONDS", type=seconds_from_0, help=text)
    parser.add_argument(
        "--to",
        metavar="FORMAT",
        help="write segments as srt, or for audacity, cvat, elan, label-studio, raven or via",
    )
    parser.add_argument(
        "--out",
        metavar="PATH",
        type=path,
        help="with --to: the file, or a folder for those of several files",
    )
    parser.add_argument(
        "--unknown",
        metavar="LABEL",
        help="with --to: write unknown segments, with this label (default: left out)",
    )


def check_segment_options(options: Any) -> None:
    """Refuse options that have no effect; complete before anything is computed."""
    if not options.segments:
        for name in _OPTIONS:
            if options[name] is not None:
                raise InputError(
                    "missing-option", f"--{name} has no effect without --segments: add --segments"
                )
        return
    if options.explain:
        raise InputError(
            "conflicting-options",
            "--explain draws windows, not segments: use it with --every, without --segments",
        )
    if options.top is not None:
        raise InputError("conflicting-options", "--top has no effect with --segments: remove it")
    if options.to is None:
        for name in ("out", "unknown"):
            if options[name] is not None:
                raise InputError(
                    "missing-option", f"--{name} has no effect without --to: add --to FORMAT"
                )
        return
    find_format(options.to)
    if options.unknown is not None:
        from cign.data.clips import check_label

        options.unknown = check_label(options.unknown, "--unknown")
    for name in ("json", "jsonl", "csv", "wide"):
        if options[name]:
            raise InputError("conflicting-options", f"--to and --{name} exclude each other")
    if options.out is not None and options.out.is_dir() and any(options.out.iterdir()):
        raise InputError(
            "bad-output", f"{options.out} exists and is not an empty folder: give a new name"
        )


def windows_of(options: Any, model: Any) -> dict[str, Any]:
    """Which windows to predict, and how many classes of each: arguments of `Learner.predict`."""
    from cign.inference.segment import segment_step_s

    if not options.segments:
        return {"top": options.top or 3, "every_s": options.every}
    return {"top": len(model.classes), "every_s": segment_step_s(model, options.every)}


def find_format(name: str) -> Any:
    """The writer of a format.

    Raises:
        InputError: If there is none of this name.
    """
    import cign.data.formats  # noqa: F401 (registers the writers)
    from cign.data.formats.label_tools.subtitles import SRT, write_srt
    from cign.data.formats.label_tools.tracks import WRITERS

    writers = {**WRITERS, SRT: write_srt}
    if name not in writers:
        raise one_of(name, sorted(writers), "format")
    return writers[name]


def show_segments(predictions: Iterable[Any], options: Any, learner: Any, progress: Any) -> None:
    """Merge predictions and print or write the segments."""
    from cign.cli.commands.predict_output import is_requested
    from cign.inference.segment import as_dict
    from cign.inference.segments import merge

    rules, multi_label = rules_of(options, learner.model), learner.model.method.setup.multi_label
    files: dict[str, None] = {}  # in their order
    found = merge(_noted(predictions, progress, files), rules, multi_label=multi_label)
    if is_requested(options):
        write_segments(found, options)
    else:
        rows = [as_dict(one) for one in found]
        progress.stop()
        if options.to is None:
            _show_table(rows, is_wide=options.wide)
        else:
            _write_labels(rows, files, options)
    progress.stop()


def rules_of(options: Any, model: Any) -> Any:
    """When segments begin and end, as `cign.inference.segment.SegmentRules`."""
    from cign.inference.segment import SegmentRules

    return SegmentRules.of_model(
        model,
        enter=options.enter,
        leave=options.leave,
        least_s=options.least,
        bridge_s=options.bridge,
    )


def write_segments(found: Iterable[Any], options: Any) -> None:
    """Write segments, and recordings that could not be read, for programs as they end."""
    from cign.cli.commands.predict_output import write
    from cign.inference.segment import COLUMNS, as_dict, as_row

    write(found, options, COLUMNS, as_dict=as_dict, as_row=as_row)


def _noted(predictions: Iterable[Any], progress: Any, files: dict[str, None]) -> Iterator[Any]:
    """Pass windows on and collect the names of files; say how far a file has been read."""
    from cign.utils.file_text import escape_name

    since = last = time.monotonic()
    for one in predictions:
        now, name = time.monotonic(), escape_name(one.file)
        if one.error is None and name not in files:
            files[name], since = None, now
        if one.end_s is not None and now - last >= _NOTE_EVERY_S:
            last = now
            speed = (
                f", {one.end_s / (now - since):.1f} times as fast as it plays"
                if now > since
                else ""
            )
            progress.note(f"{name}: read to {clock(one.end_s)}{speed}")
        yield one


def _show_table(rows: list[dict[str, Any]], *, is_wide: bool) -> None:
    from cign.cli.commands.predict_table import Column, Table, fit, printable

    if not rows:
        note("no segment found: no class is probable enough for long enough; see --enter, --least")
        return

    def number(value: float | None) -> str:
        return "-" if value is None else f"{value:.2f}"

    file = Column("file", [printable(row["file"]) for row in rows], has_words=False)
    label = Column("label", [printable(row["label"] or "-") for row in rows])
    flags = {True: "yes", False: "no", None: "-"}
    times = [
        Column(name, [clock(row[key]) for row in rows], is_number=True)
        for name, key in (("start", "start_s"), ("end", "end_s"))
    ]
    numbers = [
        Column("probability", [number(row["probability"]) for row in rows], is_number=True),
        Column("unknown", [flags[row["is_unknown"]] for row in rows]),
        *(
            Column(name, [number(row["modalities"][name]) for row in rows], is_number=True)
            for name in ("audio", "visual")
        ),
    ]
    several = [file] if len(set(file.cells)) > 1 or rows[0]["error"] else []
    columns = [*several, *times, label, *numbers]
    width = None
    if sys.stdout.isatty() and not is_wide:
        width = shutil.get_terminal_size().columns
        if not several:
            file.width = 0
        room = width - sum(one.width for one in (*times, *numbers)) - 2 * (len(columns) - 1)
        fit(file, [label], room)
    errors = ["" if row["error"] is None else f"error: {row['error']}" for row in rows]
    if width is None and any(errors):
        columns.append(Column("remarks", errors))
    for line in Table(columns, errors, [], width).lines(rule_character()):
        say(line)


def clock(value: float | None) -> str:
    """A time in hours, minutes and seconds, for people; a dash without one."""
    return "-" if value is None else wording.clock(value, 2, with_hours=True)


def _write_labels(rows: list[dict[str, Any]], files: Iterable[str], options: Any) -> None:
    """Write a label file for each of the files that could be read, also if it has no segment."""
    from cign.data.formats.label_tools.predicted import own_path
    from cign.data.formats.label_tools.tracks import Span, Track
    from cign.data.formats.label_tools.writing import texts_of
    from cign.utils.file_text import unescape_name
    from cign.utils.files import write_text

    spans: dict[str, list[Span]] = {name: [] for name in files}
    num_left_out = 0
    for row in rows:
        if row["error"] is not None:
            note(f"{row['file']}: {row['error']}")
            continue
        name = options.unknown if row["is_unknown"] else row["label"]
        if name is None:
            num_left_out += 1
            continue
        times = {"start_s": row["start_s"], "end_s": row["end_s"]}
        spans[row["file"]].append(Span(labels=(name,), score=row["probability"], **times))
    if num_left_out:
        note(f"unknown segments left out (--unknown NAME writes them): {num_left_out}")
    tracks = [
        Track(
            name=own_path(name).as_posix(),
            path=Path(unescape_name(name)).absolute(),
            spans=tuple(sorted(found, key=lambda span: (span.start_s, span.end_s))),
            is_predicted=True,
        )
        for name, found in spans.items()
    ]
    texts = texts_of(find_format(options.to), tracks, "the files")
    if not texts:
        return
    if options.out is None:
        if len(texts) > 1:
            raise InputError(
                "missing-option",
                f"{len(texts)} label files do not fit on standard output: name a folder with --out",
            )
        sys.stdout.write(next(iter(texts.values())))
        return
    for name, text in texts.items():
        is_file = len(texts) == 1 and options.out.suffix and not options.out.is_dir()
        place = options.out if is_file else options.out / name
        write_text(place, text)
        say(str(place))
