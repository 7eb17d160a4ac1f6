"""`cign predict MODEL FILE...`: classify files."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from cign.cli.arguments import CommandParser, add_device, add_model, device_of, path, seconds, whole
from cign.cli.commands.predict_live import (
    add_live_options,
    is_live,
    recorded,
    run_live,
    watched,
)
from cign.cli.commands.predict_segments import (
    add_segment_options,
    check_segment_options,
    show_segments,
    windows_of,
)
from cign.errors import InputError
from cign.saved_model.hub import refuse_missing
from cign.utils.terminal import make_progress, note, say

SUMMARY = "Classify files: audio, visual and audio-visual predictions, with unknown clips flagged."
EXAMPLE = "cign predict work/run clip.mp4 another.wav"
_NOTE_EVERY_S = 10.0


def add_options(parser: CommandParser) -> None:
    """Declare the arguments."""
    add_model(parser)
    parser.add_argument(
        "files",
        metavar="FILE",
        nargs="+",
        help="media files, folders (searched for media, hidden entries ignored) or quoted patterns "
        "such as 'clips/*.mp4'; - reads names from standard input as they arrive; URLs of files "
        "and streams, and device:FORMAT:NAME",
    )
    parser.add_argument(
        "--top", metavar="K", type=whole(1), help="classes per modality (default: 3)"
    )
    parser.add_argument(
        "--every",
        metavar="SECONDS",
        type=seconds,
        help="predict a window every SECONDS instead of the centre window; of streams instead of "
        "windows without overlap",
    )
    add_segment_options(parser)
    add_live_options(parser)
    parser.add_argument(
        "--unknown-threshold",
        metavar="X",
        type=_threshold,
        help="unknown score in [0, 1] above which a clip is called unknown; 0 disables it "
        "(default: the model's own)",
    )
    parser.add_argument(
        "--explain",
        metavar="DIR",
        type=path,
        help="write images or videos of where and when each class was found",
    )
    parser.add_argument(
        "--explain-as",
        metavar="KIND",
        help="png: an image per file or window; mp4: a video per file (default: png)",
    )
    parser.add_argument("--wide", action="store_true", help="show all columns at full length")
    add_device(parser)
    parser.add_argument("--json", action="store_true", help="print a JSON array and nothing else")
    parser.add_argument(
        "--jsonl", action="store_true", help="print one JSON object per line, as files finish"
    )
    parser.add_argument("--csv", action="store_true", help="print CSV and nothing else")


def _threshold(text: str) -> float:
    """A type for unknown scores."""
    try:
        value = float(str(text))
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(
            f"{text!r} is invalid: it must be in [0, 1]; 0 disables it"
        )
    return value


def run(options: Any) -> None:
    """Predict the files; fail if none could be read."""
    _check(options)
    refuse_missing(options.model)
    if is_live(options):
        if not isinstance(options.places[0], Path):
            run_live(options)
            return
        watcher, done = watched(options)
        with done:
            _predict(options, watcher.names(), watcher)
        return
    files = _inputs(options.files)
    if options.explain is None:
        _predict(options, files)
        return
    from cign.cli.commands.predict_output import outliving_readers

    with outliving_readers():  # all images and videos are written even if the pipe is closed
        _predict(options, files)


def _predict(options: Any, files: Any, watcher: Any = None) -> None:
    from cign.cli.commands.predict_shown import make_explainer, report_files
    from cign.learner import Learner

    learner = Learner.load(options.model, device=device_of(options))
    with ExitStack() as stack:
        explainer = make_explainer(options, learner, stack)
        progress = _progress(options, files)
        counted = _Counted(
            learner.predict(
                files,
                **windows_of(options, learner.model),
                unknown_threshold=options.unknown_threshold,
                progress=progress,
                observer=explainer,
            )
        )
        shown = counted if watcher is None else recorded(counted, watcher)
        _show(shown, options, learner, progress, as_arriving=watcher is not None)
    if explainer is not None:
        report_files(explainer, learner)
    if not counted.num_good:
        if not counted.num_all:
            raise InputError("no-clips", "no file name on standard input: write one name per line")
        raise InputError(
            "no-clips",
            f"none of the {counted.num_all} files could be read ({counted.first_error}): "
            "check the names, and that the files are audio or video",
        )


def _check(options: Any) -> None:
    """Refuse options that exclude each other or have no effect."""
    check_segment_options(options)
    chosen = [f"--{name}" for name in ("json", "jsonl", "csv", "wide") if options[name]]
    if len(chosen) > 1:
        raise InputError(
            "conflicting-options", f"{' and '.join(chosen)} exclude each other: choose one"
        )
    if options.explain_as and not options.explain:
        raise InputError(
            "missing-option", "--explain-as has no effect without --explain: give --explain DIR"
        )


def _inputs(given: list[str]) -> Any:
    """Files, folders and patterns as a list; an iterator if names arrive on standard input."""
    from cign.inference.inputs import as_inputs

    if "-" not in given:
        return list(as_inputs(given))
    return as_inputs(_with_arriving(given))


def _with_arriving(given: list[str]) -> Iterator[Any]:
    """The names, with ``-`` replaced by the names from standard input."""
    from cign.cli.name_stream import arriving_names

    for name in given:
        if name == "-":
            yield from arriving_names(sys.stdin)
        else:
            yield name


def _progress(options: Any, files: Any) -> Any:
    """A bar; lines if the number of files is unknown; nothing between rows on a terminal."""
    from cign.cli.commands.predict_output import is_requested
    from cign.utils.progress import Silent

    streams = is_requested(options) or (options.to and not options.out)
    if streams and sys.stdout.isatty():
        return Silent()
    return make_progress() if isinstance(files, list) else _Arriving()


class _Arriving:
    """Progress for an unknown number of files: a line every ten seconds."""

    def __init__(self) -> None:
        self._done, self._last = 0, time.monotonic()

    def start(self, title: str, total: int) -> None:
        """Ignore: the total is unknown."""

    def advance(self, steps: int = 1) -> None:
        """Count; show a line at most every ten seconds."""
        self._done += steps
        if time.monotonic() - self._last >= _NOTE_EVERY_S:
            self._last = time.monotonic()
            self.note(f"{self._done} files predicted")

    def note(self, text: str) -> None:
        """Show a line."""
        note(text)

    def stop(self) -> None:
        """Nothing to clear."""


def _show(
    predictions: Iterable[Any],
    options: Any,
    learner: Any,
    progress: Any,
    *,
    as_arriving: bool = False,
) -> None:
    """Print the predictions in the requested format."""
    from cign.cli.commands import predict_output as output
    from cign.cli.commands.predict_shown import show_table
    from cign.inference.prediction import COLUMNS

    if options.segments:
        show_segments(predictions, options, learner, progress)
    elif output.is_requested(options):
        output.write(predictions, options, COLUMNS)
    elif as_arriving:
        from cign.cli.commands.live_table import file_lines

        for line in file_lines(predictions, learner.classes):
            say(line)
            sys.stdout.flush()
    else:
        rows = list(predictions)
        progress.stop()
        show_table(rows, options, learner)
    progress.stop()


class _Counted:
    """Passes predictions through and counts those that could be read."""

    def __init__(self, predictions: Iterable[Any]) -> None:
        self._predictions = predictions
        self.num_all = self.num_good = 0
        self.first_error = ""

    def __iter__(self) -> Iterator[Any]:
        for one in self._predictions:
            self.num_all += 1
            if one.error is None:
                self.num_good += 1
            else:
                self.first_error = self.first_error or one.error
            yield one
