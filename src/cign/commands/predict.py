"""`cign predict MODEL FILE...`: what is seen and heard in files."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import Any

from cign.arguments import CommandParser, add_device, add_model, device_of, path, seconds, whole
from cign.errors import InputError
from cign.hub import refuse_missing
from cign.terminal import make_progress, note, say, show_table

SUMMARY = "Say what is seen and heard in files: audio, visual and audio-visual, with unknowns."
EXAMPLE = "cign predict work/run clip.mp4 another.wav"
_COLUMNS = ("file", "start_s", "end_s", "label", "probability", "unknown", "is_unknown")
_READINGS = ("audio", "visual")


def add_options(parser: CommandParser) -> None:
    """Declare what the command takes."""
    add_model(parser)
    parser.add_argument(
        "files", metavar="FILE", nargs="+", help="media files; - reads names from standard input"
    )
    parser.add_argument(
        "--top", metavar="K", type=whole(1), default=3, help="classes told per reading (default: 3)"
    )
    parser.add_argument(
        "--every", metavar="SECONDS", type=seconds, help="slide a window over long files"
    )
    parser.add_argument(
        "--explain", metavar="DIR", type=path, help="draw where and when each class was found"
    )
    parser.add_argument(
        "--explain-as",
        metavar="KIND",
        help="png: a picture of each file or window; mp4: a film of each file (default: png)",
    )
    add_device(parser)
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")
    parser.add_argument("--csv", action="store_true", help="print CSV and nothing else")


def run(options: Any) -> None:
    """Read the files; fail if none of them could be read."""
    if options.json and options.csv:
        raise InputError("--json and --csv exclude each other: choose one")
    if options.explain_as and not options.explain:
        raise InputError("--explain-as says how to draw, and nothing is drawn: give --explain DIR")
    files = list(_names(options.files))
    if not files:
        raise InputError("no file was named on standard input: write one name per line")
    refuse_missing(options.model)
    from cign.learner import Learner

    learner = Learner.load(options.model, device=device_of(options))
    with ExitStack() as stack:
        explainer = _explainer(options, learner, stack)
        progress = make_progress()
        progress.start("reading files", len(files))
        counted = _Counted(
            learner.predict(
                files,
                top=options.top,
                every_s=options.every,
                progress=progress,
                observer=explainer,
            )
        )
        if options.json:
            _write_json(counted)
        elif options.csv:
            _write_csv(counted)
        else:
            rows = list(counted)
            progress.stop()
            _write_table(rows)
        progress.stop()
    if explainer is not None:
        _tell_of(explainer, learner)
    if not counted.num_good:
        raise InputError(
            f"none of the {len(files)} files could be read ({counted.first_error}): "
            "check the names and that they are audio or video"
        )


def _explainer(options: Any, learner: Any, stack: ExitStack) -> Any:
    """What draws, if anything is to be drawn; open until the stack is left."""
    if options.explain is None:
        return None
    from cign.explain.writer import Explainer

    kind = options.explain_as or "png"
    return stack.enter_context(
        Explainer(options.explain, learner.model, kind=kind, every_s=options.every)
    )


def _tell_of(explainer: Any, learner: Any) -> None:
    from cign.explain.canvas import without_glyph
    from cign.maps import has_maps

    what = {"png": ("picture", "pictures"), "mp4": ("film", "films")}[explainer.kind]
    note(f"{explainer.num_written} {what[explainer.num_written != 1]} in {explainer.folder}")
    lacking = without_glyph(learner.model.classes)
    if lacking:
        note(
            f"no font here has {lacking[:10]}: boxes stand for such characters; install one that "
            "has them, for example Noto Sans CJK"
        )
    if not has_maps(learner.model.method):
        note(f"method {learner.model.method.name} has no maps: where and when is not shown")


class _Counted:
    """Passes predictions on and remembers whether any file could be read."""

    def __init__(self, predictions: Iterable[Any]) -> None:
        self._predictions = predictions
        self.num_good = 0
        self.first_error = ""

    def __iter__(self) -> Iterator[Any]:
        for one in self._predictions:
            if one.error is None:
                self.num_good += 1
            else:
                self.first_error = self.first_error or one.error
            yield one


def _names(given: list[str]) -> Iterator[str]:
    """File names, with ``-`` replaced by the lines of standard input."""
    for name in given:
        if name == "-":
            if isinstance(sys.stdin, io.TextIOWrapper):  # names need not be of any encoding
                sys.stdin.reconfigure(errors="surrogateescape")
            yield from (line.rstrip("\r\n") for line in sys.stdin if line.strip())
        else:
            yield name


def _write_json(predictions: Iterable[Any]) -> None:
    """One array, written as the predictions come."""
    say("[")
    previous = None
    for one in predictions:
        if previous is not None:
            say(f"  {previous},")
        previous = json.dumps(dataclasses.asdict(one), ensure_ascii=False)
    if previous is not None:
        say(f"  {previous}")
    say("]")


def _write_csv(predictions: Iterable[Any]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    names = [f"{reading}_{part}" for reading in _READINGS for part in ("label", "probability")]
    writer.writerow([*_COLUMNS, *names, "missing", "error"])
    for one in predictions:
        best = [_best(one, reading) for reading in _READINGS]
        writer.writerow(
            [
                *(one.file, one.start_s, one.end_s, one.label, _best(one, "audio_visual")[1]),
                *(one.unknown, one.is_unknown),
                *(value for pair in best for value in pair),
                *("|".join(one.missing), one.error),
            ]
        )


def _best(prediction: Any, reading: str) -> tuple[str | None, float | None]:
    """The most probable class of a reading; nothing where the modality is missing."""
    classes = prediction.readings.get(reading)
    return (classes[0]["label"], classes[0]["probability"]) if classes else (None, None)


def _write_table(predictions: list[Any]) -> None:
    good = [one for one in predictions if one.error is None]
    if good:
        show_table(
            ("file", "seconds", "label", "audio-visual", "audio", "visual", "unknown"),
            (
                (
                    one.file,
                    f"{one.start_s:.1f} to {one.end_s:.1f}",
                    f"unknown ({one.label}?)" if one.is_unknown else one.label,
                    *(_cell(one, reading) for reading in ("audio_visual", *_READINGS)),
                    f"{one.unknown:.2f}",
                )
                for one in good
            ),
            num_text=6,
        )
    for one in predictions:
        if one.error is not None:
            note(f"{one.file}: {one.error}")


def _cell(prediction: Any, reading: str) -> str:
    """The classes of a reading with their probabilities."""
    classes = prediction.readings.get(reading) or []
    text = ", ".join(f"{one['label']} {one['probability']:.2f}" for one in classes)
    return text or f"no {reading} track"
