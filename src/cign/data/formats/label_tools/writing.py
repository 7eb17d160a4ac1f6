"""Write the labels of a list of clips or of predictions for an annotation tool."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cign.data.formats import read_source
from cign.data.formats.label_tools.predicted import holds_predictions, read_predictions
from cign.data.formats.label_tools.tracks import Track, Writer, find_writer, tracks_of
from cign.errors import InputError
from cign.utils.files import write_text


@dataclass(frozen=True, kw_only=True)
class Written:
    """What was written for an annotation tool.

    Attributes:
        files: The files, in the order of the recordings.
        num_recordings: Number of recordings.
        num_segments: Number of segments.
        notes: What was left out, one sentence each.
    """

    files: tuple[Path, ...]
    num_recordings: int
    num_segments: int
    notes: tuple[str, ...]


def write_labels(
    source: Path,
    folder: Path,
    *,
    tool: str,
    format: str | None = None,
    media: Sequence[Path] = (),
    unknown_label: str | None = None,
    min_probability: float | None = None,
) -> Written:
    """Write predictions, or the clips of a list, as label files of a tool.

    Args:
        source: The output of ``cign predict --csv``, ``--json`` or ``--jsonl``, or any list of
            clips that `cign.data.formats.read_source` reads.
        folder: Folder of the label files; it must be empty or missing.
        tool: Name of the tool, see `cign.data.formats.label_tools.tracks.WRITERS`.
        format: Format of a list of clips; see `cign.data.formats.read_source`.
        media: Folders with the recordings.
        unknown_label: For predictions: label of windows that were called unknown; they are left
            out without.
        min_probability: For predictions: windows below it are left out.

    Raises:
        InputError: If the source is invalid, the folder is not empty, or a file that the tool
            needs cannot be opened.
    """
    writer = find_writer(tool)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(
            "bad-output", f"{folder} exists and is not an empty folder: give a new name"
        )
    if format is None and holds_predictions(source):
        tracks, notes = read_predictions(
            source,
            [path.absolute() for path in media],
            unknown_label=unknown_label,
            min_probability=min_probability or 0.0,
        )
    else:
        if unknown_label is not None or min_probability is not None:
            raise InputError(
                "conflicting-options",
                f"--unknown and --min-probability are for predictions, and {source} is a list of "
                "clips: leave them out",
            )
        table = read_source(source, format=format, media=media, min_classes=1, require_train=False)
        tracks, notes = tracks_of(table.clips), table.notes
    files = texts_of(writer, tracks, str(source))
    for name, text in files.items():
        write_text(folder / name, text)
    return Written(
        files=tuple(folder / name for name in files),
        num_recordings=len(tracks),
        num_segments=sum(len(track.spans) for track in tracks),
        notes=notes,
    )


def texts_of(writer: Writer, tracks: Sequence[Track], source: str) -> dict[str, str]:
    """The label files of a tool: their texts by their names.

    Args:
        writer: From `cign.data.formats.label_tools.tracks.find_writer`.
        tracks: The labelled recordings.
        source: Where they come from, for error messages.

    Raises:
        InputError: If two recordings need the same label file, or a file that the tool needs
            cannot be opened.
    """
    written: dict[str, str] = {}
    for name, text in writer(tracks):
        if name in written:
            raise InputError(
                "bad-list",
                f"two recordings of {source} need the label file {name}: give recordings names "
                "that differ without their suffix",
            )
        written[name] = text
    return written
