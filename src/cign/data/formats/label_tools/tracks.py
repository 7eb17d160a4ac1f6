"""Labelled spans of recordings, to be written for an annotation tool."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from cign.data.clips import Clip
from cign.data.formats.label_tools.recordings import duration_s
from cign.errors import one_of
from cign.utils.file_text import unescape_name

MODEL = "cign"


@dataclass(frozen=True, kw_only=True)
class Span:
    """A labelled part of a recording.

    Attributes:
        start_s: Start in seconds; the start of the recording if absent.
        end_s: End in seconds; the end of the recording if absent.
        labels: Class names.
        score: Probability of the label, for a prediction.
    """

    start_s: float | None
    end_s: float | None
    labels: tuple[str, ...]
    score: float | None = None


@dataclass(frozen=True, kw_only=True)
class Track:
    """The spans of a recording.

    Attributes:
        name: Path of the recording below its media folder.
        path: The file.
        spans: In the order of their start.
        is_predicted: Whether a model made them, not a person.
    """

    name: str
    path: Path
    spans: tuple[Span, ...]
    is_predicted: bool = False

    def file_name(self, ending: str) -> str:
        """Return the name of a label file of the recording, in the same folder below the top."""
        return PurePosixPath(self.name).with_suffix("").as_posix() + ending

    @property
    def class_names(self) -> tuple[str, ...]:
        """The labels in alphabetical order."""
        return tuple(sorted({label for span in self.spans for label in span.labels}))


Writer = Callable[[Sequence[Track]], Iterator[tuple[str, str]]]
WRITERS: dict[str, Writer] = {}
"""Writers by the name of the tool. Each yields names of files and their contents."""


def register_writer(name: str) -> Callable[[Writer], Writer]:
    """Decorator that registers a function as the writer of a tool."""

    def register(writer: Writer) -> Writer:
        WRITERS[name] = writer
        return writer

    return register


def find_writer(name: str) -> Writer:
    """Return the writer of a tool.

    Raises:
        InputError: If there is none of this name.
    """
    if name not in WRITERS:
        raise one_of(name, sorted(WRITERS), "label tool")
    return WRITERS[name]


def tracks_of(clips: Iterable[Clip]) -> list[Track]:
    """Return the clips of a list as spans of their files, in the order of the files' ids."""
    spans: dict[Path, list[Span]] = {}
    names: dict[Path, str] = {}
    for clip in clips:
        spans.setdefault(clip.path, []).append(
            Span(start_s=clip.start_s, end_s=clip.end_s, labels=clip.labels)
        )
        names.setdefault(clip.path, _file_of(clip))
    return [
        Track(name=names[path], path=path, spans=tuple(sorted(spans[path], key=_start)))
        for path in sorted(names, key=names.__getitem__)
    ]


def _file_of(clip: Clip) -> str:
    """The path of a clip's file below the media folder: the longest end of the path in its id."""
    parts = clip.path.parts
    for begin in range(1, len(parts)):
        name = PurePosixPath(*parts[begin:]).as_posix()
        if unescape_name(clip.id).startswith(name):
            return name
    return clip.path.name


def _start(span: Span) -> tuple[float, float]:
    return span.start_s or 0.0, float("inf") if span.end_s is None else span.end_s


def with_ends(track: Track) -> Track:
    """Return the spans with start and end; the file is opened if an end is missing.

    Raises:
        InputError: If the end of the recording is needed and the file cannot be opened.
    """
    if all(span.start_s is not None and span.end_s is not None for span in track.spans):
        return track
    last_s = duration_s(track.path) if any(s.end_s is None for s in track.spans) else 0.0
    spans = [
        replace(
            span,
            start_s=span.start_s or 0.0,
            end_s=last_s if span.end_s is None else span.end_s,
        )
        for span in track.spans
    ]
    return replace(track, spans=tuple(spans))


def intervals(track: Track) -> Iterator[tuple[float, float, str]]:
    """Yield start, end and label; a span of several labels gives several.

    Raises:
        InputError: See `with_ends`.
    """
    for span in with_ends(track).spans:
        assert span.start_s is not None
        assert span.end_s is not None
        for label in span.labels:
            yield span.start_s, span.end_s, label
