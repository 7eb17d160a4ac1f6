"""`cign predict` for live input: streams, capture devices, growing files, watched folders."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from cign.cli.arguments import CommandParser, device_of, path, seconds, seconds_from_0
from cign.errors import InputError, RunError
from cign.utils.terminal import note, say

_OPTIONS = ("state", "settle", "reconnect", "timeout", "stream_option")


def add_live_options(parser: CommandParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--follow",
        action="store_true",
        help="go on until interrupted: predict new files of folders, files while they grow, and "
        "wait for streams that end or are not there yet",
    )
    parser.add_argument(
        "--state",
        metavar="FILE",
        type=path,
        help="with --follow and folders: record predicted files here, so that a restart goes on",
    )
    parser.add_argument(
        "--settle",
        metavar="SECONDS",
        type=seconds,
        help="with --follow and folders: a file is complete after SECONDS without a change "
        "(default: 2)",
    )
    parser.add_argument(
        "--reconnect",
        metavar="SECONDS",
        type=seconds_from_0,
        help="try a lost stream again for SECONDS (default: 30 after an error, 0 after an end)",
    )
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=seconds,
        help="a stream without data for SECONDS is lost, a growing file is complete (default: 10)",
    )
    parser.add_argument(
        "--stream-option",
        metavar="NAME=VALUE",
        action="append",
        type=_pair,
        help="option of FFmpeg for streams and devices, such as rtsp_transport=udp or "
        "video_size=640x480; may be repeated",
    )


def _pair(text: str) -> str:
    """A type for NAME=VALUE."""
    name, equals, _ = str(text).partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return str(text)


def is_live(options: Any) -> bool:
    """Whether files are to be watched, or a name is a stream; opens what may be either.

    Raises:
        InputError: If live options are given without live input, or files and streams are mixed.
    """
    from cign.data.media.addresses import is_address

    addresses = [name for name in options.files if name != "-" and is_address(name)]
    if not options.follow and not addresses:
        for name in _OPTIONS:
            if options[name] is not None:
                flag = f"--{name.replace('_', '-')}"
                raise InputError(
                    "missing-option",
                    f"{flag} has no effect on files: give a stream or a device, or --follow",
                )
        return False
    if "-" in options.files:
        raise InputError(
            "conflicting-options",
            "- reads names of files: leave it out, or the streams and --follow",
        )
    options.places = _folders(options) or _places(options, addresses)
    return bool(options.places)


def _folders(options: Any) -> list[Path]:
    """The folders to watch."""
    folders = [Path(name) for name in options.files if options.follow and Path(name).is_dir()]
    if folders and len(folders) < len(options.files):
        other = next(name for name in options.files if not Path(name).is_dir())
        raise InputError(
            "conflicting-options",
            f"{folders[0]} is a folder and {other} is not: watch folders in one call and follow "
            "files and streams in another",
        )
    for name in ("state", "settle"):
        if options[name] is not None and not folders:
            raise InputError(
                "missing-option", f"--{name} is for watched folders: give folders and --follow"
            )
    return folders


def _places(options: Any, addresses: list[str]) -> list[Any]:
    """The live sources; none if all addresses are files on web servers."""
    from cign.data.media.addresses import parse_address
    from cign.data.media.container import MediaError
    from cign.data.media.live.opening import open_url
    from cign.inference.live import Place, as_place

    how, found, files = live_options(options), [], []
    for name in options.files:
        if name not in addresses and not options.follow:
            files.append(name)
            continue
        place = as_place(name)
        if name in addresses and not options.follow and parse_address(name).may_be_file:
            try:
                first = open_url(parse_address(name), how.options, how.timeout_s)
            except MediaError:
                first = None  # opened again by the source, which reports the error
            if first is not None and first.is_file:
                first.close()
                files.append(name)
                continue
            place = Place(parse_address(name), first)
        found.append(place)
    if files and found:
        raise InputError(
            "conflicting-options",
            f"{found[0].name} is a stream and {files[0]} is a file: predict them in two calls",
        )
    return found


def live_options(options: Any) -> Any:
    """The options as `LiveOptions`."""
    from cign.data.media.live.source import LiveOptions

    given = {"timeout_s": options.timeout} if options.timeout else {}
    pairs = [text.partition("=") for text in options.stream_option or ()]
    return LiveOptions(
        every_s=options.every,
        reconnect_s=options.reconnect,
        follow=options.follow,
        options={name: value for name, _, value in pairs},
        **given,
    )


def remark(name: str, text: str) -> None:
    """Say on standard error what happened to a source, with the name escaped."""
    from cign.utils.file_text import escape_name

    note(f"{escape_name(name)}: {text}")


def run_live(options: Any) -> None:
    """Predict live sources until they end.

    Raises:
        InputError: If no source sent a window.
        RunError: If a source was lost after it had sent windows.
    """
    from cign.inference.live_statistics import Statistics
    from cign.learner import Learner

    if options.explain:
        raise InputError(
            "conflicting-options",
            "--explain is for files: leave it out, or record the stream first",
        )
    if options.to:
        raise InputError(
            "conflicting-options",
            "--to writes labels of files: leave it out, or record the stream first",
        )
    learner = Learner.load(options.model, device=device_of(options))
    statistics = Statistics([one.name for one in options.places])
    failed: list[Any] = []
    try:
        _show(_noting(_predictions(options, learner, statistics), failed), options, learner)
    finally:
        for line in statistics.lines():
            note(line)
    if len(failed) == len(options.places) and not statistics.lines():
        raise InputError(
            "stream-failed",
            f"no source could be read ({failed[0].file}: {failed[0].error}): check the addresses",
        )
    if failed:
        raise RunError("stream-failed", f"{failed[0].file}: {failed[0].error}")


def _predictions(options: Any, learner: Any, statistics: Any) -> Iterator[Any]:
    from dataclasses import replace

    from cign.cli.commands.predict_segments import windows_of

    windows = windows_of(options, learner.model)
    return iter(
        learner.predict_live(
            options.places,
            how=replace(live_options(options), every_s=windows["every_s"]),
            top=windows["top"],
            unknown_threshold=options.unknown_threshold,
            remark=remark,
            statistics=statistics,
        )
    )


def _noting(predictions: Iterable[Any], failed: list[Any]) -> Iterator[Any]:
    """Pass predictions on; note those of sources that failed."""
    for one in predictions:
        if one.error is not None:
            failed.append(one)
        yield one


def _show(predictions: Iterator[Any], options: Any, learner: Any) -> None:
    from cign.cli.commands import predict_output as output
    from cign.cli.commands.live_table import live_lines
    from cign.inference.live import LIVE_COLUMNS

    if options.segments:
        _show_segments(predictions, options, learner)
    elif output.is_requested(options):
        output.write(predictions, options, LIVE_COLUMNS)
    else:
        for line in live_lines(predictions, learner.model.classes, options.places, options.wide):
            say(line)
            sys.stdout.flush()


def _show_segments(predictions: Iterator[Any], options: Any, learner: Any) -> None:
    """Write each segment when it has ended."""
    from cign.cli.commands.live_table import segment_lines
    from cign.cli.commands.predict_output import is_requested
    from cign.cli.commands.predict_segments import rules_of, write_segments
    from cign.inference.live_segments import merge_live

    multi_label = learner.model.method.setup.multi_label
    found = merge_live(predictions, rules_of(options, learner.model), multi_label=multi_label)
    if is_requested(options):
        write_segments(found, options)
        return
    for line in segment_lines(found, learner.model.classes, options.places):
        say(line)
        sys.stdout.flush()


def watched(options: Any) -> Any:
    """The watcher of the folders, and the record of their files.

    Raises:
        InputError: If segments are requested, or the record cannot be used.
    """
    if options.segments:
        raise InputError(
            "conflicting-options",
            "--segments is not for watched folders: leave it out, or name files or a stream",
        )
    from cign.inference.predicted_files import PredictedFiles
    from cign.inference.watching import SETTLE_S, FolderWatcher

    done = PredictedFiles(options.state, options.places)
    settle_s = SETTLE_S if options.settle is None else options.settle
    return FolderWatcher(options.places, done, settle_s=settle_s, remark=remark), done


def recorded(predictions: Iterable[Any], watcher: Any) -> Iterator[Any]:
    """Pass predictions on; record a file when the first prediction of the next one is asked for."""
    last = None
    for one in predictions:
        if last is not None and one.file != last:
            watcher.finished(last)
        last = one.file
        yield one
