"""Predictions of `cign predict --csv`, `--json` or `--jsonl` as spans of their files.

The output of `cign predict --segments` is taken as it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cign.data.formats.delimited import read_delimited
from cign.data.formats.label_tools.recordings import Recordings
from cign.data.formats.label_tools.text import begin_of, number_of, read_label_text
from cign.data.formats.label_tools.tracks import Span, Track
from cign.errors import InputError
from cign.utils.file_text import unescape_name
from cign.utils.files import parse_json
from cign.utils.wording import listed

_WHAT = "list of predictions"
_COLUMNS = ("file", "start_s", "end_s", "label", "probability")
_OF_SEGMENTS = "num_windows"  # only segments have this field
_MAX_NAMED = 3


class Window(NamedTuple):
    """The prediction for a window of a file; a window that is left out has no label."""

    start_s: float
    end_s: float
    label: str | None
    score: float


def holds_predictions(source: Path) -> bool:
    """Whether a file was written by `cign predict`, by its first line or fields."""
    if not source.is_file():
        return False
    begin = begin_of(source).lstrip()
    if begin.startswith(("[", "{")):
        return '"file":' in begin and '"modalities":' in begin
    return begin.startswith(",".join(_COLUMNS))


def read_predictions(
    source: Path,
    media: Sequence[Path] = (),
    *,
    unknown_label: str | None = None,
    min_probability: float = 0.0,
) -> tuple[list[Track], tuple[str, ...]]:
    """Read predictions as spans: neighbouring windows with the same label are one span.

    Args:
        source: The file of predictions.
        media: Folders with the files; if empty, their names are used as written, below the
            current folder.
        unknown_label: Label of windows that were called unknown; they are left out without.
        min_probability: Windows below this probability are left out.

    Returns:
        The tracks, and notes on what was left out.

    Raises:
        InputError: If a row is wrong, or no window is left.
    """
    finder = Recordings(source, media) if media else None
    windows: dict[str, list[Window]] = {}
    num_failed = num_unknown = num_low = 0
    is_merged = False
    for where, row in _rows(source):
        if row.get("error"):
            num_failed += 1
            continue
        window, is_merged = _window(row, where), _OF_SEGMENTS in row
        if str(row.get("is_unknown")).lower() == "true":
            num_unknown += unknown_label is None
            window = window._replace(label=unknown_label)
        elif window.score < min_probability:
            num_low += 1
            window = window._replace(label=None)
        windows.setdefault(str(row["file"]), []).append(window)
    notes = []
    for number, what in (
        (num_failed, "of files that could not be read"),
        (num_unknown, "called unknown (--unknown NAME writes them)"),
        (num_low, f"below a probability of {min_probability:g}"),
    ):
        if number:
            notes.append(f"predictions left out, {what}: {number}")
    spans_of = {
        name: _spans(found if is_merged else join_windows(found))
        for name, found in sorted(windows.items())
    }
    if not any(spans_of.values()):
        why = f" ({'; '.join(notes)})" if notes else ""
        raise InputError("no-clips", f"{source} contains no prediction to write{why}")
    tracks = []
    for name, spans in spans_of.items():
        path, own = Path(unescape_name(name)).absolute(), own_path(name)
        if finder is not None:
            recording = finder.find((unescape_name(name),), source, source)
            path = recording.path
            own = Path(recording.id)
        track = Track(name=own.as_posix(), path=path, spans=spans, is_predicted=True)
        tracks.append(track)
    _check_names(tracks, source)
    return tracks, (*notes, *(finder.notes() if finder else ()))


def own_path(name: str) -> Path:
    """The path of a recording below its media folder; only its name if it may be outside."""
    path = Path(name)
    return Path(path.name) if path.is_absolute() or ".." in path.parts else path


def _spans(windows: Sequence[Window]) -> tuple[Span, ...]:
    return tuple(
        Span(start_s=one.start_s, end_s=one.end_s, labels=(one.label,), score=one.score)
        for one in windows
        if one.label is not None
    )


def _check_names(tracks: Sequence[Track], source: Path) -> None:
    names = [track.name for track in tracks]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError(
            "bad-list",
            f"{source} names files {listed(repeated, _MAX_NAMED)} of several folders: predict "
            "them with paths below one folder",
        )


def _rows(source: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the rows of CSV, or the objects of JSON or JSON lines in the same form."""
    text = read_label_text(source, _WHAT)
    if not text.lstrip().startswith(("[", "{")):
        columns, rows = read_delimited(source, _WHAT, _COLUMNS)
        missing = [name for name in _COLUMNS if name not in columns]
        if missing:
            raise InputError(
                "wrong-format",
                f"{source} has no column {missing[0]!r}: give the output of cign predict --csv",
            )
        yield from rows
        return
    try:
        if text.lstrip().startswith("["):
            items = parse_json(text)
        else:
            items = [parse_json(line) for line in text.split("\n") if line.strip()]
        for number, item in enumerate(items, 1):
            where = f"{source} prediction {number}"
            if _OF_SEGMENTS in item:
                yield where, item
                continue
            best = item["modalities"]["audio_visual"]
            score = best[0]["probability"] if best else None
            yield where, {**item, "probability": score}
    except (ValueError, TypeError, KeyError, IndexError, RecursionError) as error:
        raise InputError(
            "file-unreadable",
            f"{source} is not the output of cign predict --json or --jsonl ({error}): write it "
            "again",
        ) from None


def _window(row: Mapping[str, Any], where: str) -> Window:
    values = [number_of(row.get(name)) for name in ("start_s", "end_s", "probability")]
    numbers = [value for value in values if value is not None and math.isfinite(value)]
    label, file = row.get("label"), row.get("file")
    has_texts = isinstance(label, str) and isinstance(file, str) and label and file
    if not has_texts or len(numbers) < 3 or not 0 <= numbers[0] < numbers[1]:
        raise InputError(
            "bad-list",
            f"{where} has no file, label, probability, start_s and end_s of a window: write the "
            "predictions again",
        )
    return Window(numbers[0], numbers[1], str(label), numbers[2])


def join_windows(windows: Sequence[Window]) -> list[Window]:
    """Join neighbouring windows with the same label; their score is the mean.

    Where windows overlap, the boundary is midway between their centres: each instant has the label
    of the window whose centre is nearest. Both rules are our choice.
    """
    ordered = sorted(windows, key=lambda window: window[:2])
    joined: list[list[Window]] = []
    start_s = 0.0
    for number, window in enumerate(ordered):
        before = ordered[number - 1] if number else None
        after = ordered[number + 1] if number + 1 < len(ordered) else None
        if before is None or before.end_s < window.start_s:
            start_s = window.start_s
        end_s = window.end_s
        if after is not None and after.start_s <= window.end_s:
            centres = (window.start_s + window.end_s, after.start_s + after.end_s)
            end_s = round(sum(centres) / 4, 6)
        part = window._replace(start_s=start_s, end_s=end_s)
        last = joined[-1][-1] if joined else None
        if last is not None and last.label == part.label and last.end_s == part.start_s:
            joined[-1].append(part)
        else:
            joined.append([part])
        start_s = end_s
    return [
        Window(
            parts[0].start_s,
            parts[-1].end_s,
            parts[0].label,
            sum(part.score for part in parts) / len(parts),
        )
        for parts in joined
    ]
