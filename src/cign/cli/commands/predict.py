"""`cign predict MODEL FILE...`: classify files."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import Any

from cign.cli.arguments import CommandParser, add_device, add_model, device_of, path, seconds, whole
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
        "such as 'clips/*.mp4'; - reads names from standard input as they arrive",
    )
    parser.add_argument(
        "--top", metavar="K", type=whole(1), help="classes per modality (default: 3)"
    )
    parser.add_argument(
        "--every",
        metavar="SECONDS",
        type=seconds,
        help="predict a window every SECONDS instead of the centre window",
    )
    add_segment_options(parser)
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
    files = _inputs(options.files)
    if options.explain is None:
        _predict(options, files)
        return
    from cign.cli.commands.predict_output import outliving_readers

    with outliving_readers():  # all images and videos are written even if the pipe is closed
        _predict(options, files)


def _predict(options: Any, files: Any) -> None:
    from cign.learner import Learner

    learner = Learner.load(options.model, device=device_of(options))
    with ExitStack() as stack:
        explainer = _explainer(options, learner, stack)
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
        _show(counted, options, learner, progress)
    if explainer is not None:
        _report_files(explainer, learner)
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
    from cign.utils.progress import Silent

    streams = options.json or options.jsonl or options.csv or (options.to and not options.out)
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


def _show(predictions: Iterable[Any], options: Any, learner: Any, progress: Any) -> None:
    """Print the predictions in the requested format."""
    from cign.cli.commands import predict_output as output

    if options.segments:
        show_segments(predictions, options, learner, progress)
    elif options.json:
        output.write_json(predictions)
    elif options.jsonl:
        output.write_json_lines(predictions)
    elif options.csv:
        output.write_csv(predictions)
    else:
        rows = list(predictions)
        progress.stop()
        _show_table(rows, options, learner)
    progress.stop()


def _show_table(rows: list[Any], options: Any, learner: Any) -> None:
    from cign.cli.commands.predict_table import make_table

    if not rows:
        return
    # A pipe has no width: names and labels are in full, and only --wide adds more columns.
    is_pipe = not sys.stdout.isatty()
    width = None if options.wide or is_pipe else shutil.get_terminal_size().columns
    table = make_table(rows, width, is_brief=is_pipe and not options.wide)
    is_utf8 = "utf" in (getattr(sys.stdout, "encoding", None) or "utf-8").lower()
    for line in table.lines("─" if is_utf8 else "-"):
        say(line)
    if table.hidden:
        note(f"not shown: {', '.join(table.hidden)}; --wide shows all columns")
    if options.unknown_threshold is None:
        note(_threshold_origin(learner.model.unknown))


def _threshold_origin(rule: Any) -> str:
    """The number of clips that the model's unknown threshold is based on."""
    if not rule.thresholds:
        return (
            "this model has no unknown threshold, because it was trained without validation clips: "
            "nothing is called unknown; --unknown-threshold X sets one"
        )
    number = f"{rule.num_clips}" if rule.num_clips else "an unknown number of"
    clips = "clip" if rule.num_clips == 1 else "clips"
    return (
        f"the unknown threshold is based on {number} validation {clips}; --unknown-threshold X "
        "sets another, 0 disables it"
    )


def _explainer(options: Any, learner: Any, stack: ExitStack) -> Any:
    """The writer of images or videos, if requested; closed with the stack."""
    if options.explain is None:
        return None
    from cign.explain.writer import Explainer

    kind = options.explain_as or "png"
    return stack.enter_context(
        Explainer(options.explain, learner.model, kind=kind, every_s=options.every)
    )


def _report_files(explainer: Any, learner: Any) -> None:
    from cign.explain.canvas import without_glyph
    from cign.methods.capabilities import has_maps

    what = {"png": ("image", "images"), "mp4": ("video", "videos")}[explainer.kind]
    note(f"{explainer.num_written} {what[explainer.num_written != 1]} in {explainer.folder}")
    lacking = without_glyph(learner.model.classes)
    if lacking:
        note(
            f"no installed font has {lacking[:10]}: such characters are shown as boxes; install a "
            "font that has them, for example Noto Sans CJK"
        )
    if not has_maps(learner.model.method):
        note(f"method {learner.model.method.name} has no maps: the output shows no locations")


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
