"""Write a list of any format as a CSV table of `cign`."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from cign.data.clips import Clip, ClipTable
from cign.data.formats.label_texts import label_texts
from cign.errors import InputError
from cign.utils.file_text import escape_name
from cign.utils.files import write_text

_COLUMNS = ("path", "labels", "split", "start_s", "end_s", "source", "box")
_COLUMNS_SOUND = ("sound_start_s", "sound_end_s")
_COLUMNS_WEIGHT = ("weight",)


def write_clip_table(table: ClipTable, path: Path, media: Sequence[Path] = ()) -> None:
    """Write a list as CSV.

    Paths are relative to the media folder that contains the file; read such a table with the same
    ``--media``. Without media folders, paths are relative to the common folder of all files.

    Args:
        table: The list.
        path: The CSV file; an existing file is replaced only if it is a table of `cign`.
        media: Media folders.

    Raises:
        InputError: If two clips are the same part of the same file, if the name does not end in
            .csv, or if the file exists and is not a table of `cign`.
    """
    if path.suffix.lower() != ".csv":
        raise InputError(
            "bad-output", f"table {path} does not end in .csv: give a name that ends in .csv"
        )
    if path.exists() and not _is_ours(path):
        raise InputError(
            "bad-output", f"{path} exists and is not a table written by cign: give a new name"
        )
    roots = [Path(folder).absolute() for folder in media] or [common_folder(table.clips)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    has_sounds = any(clip.sounds for clip in table.clips)
    has_weights = any(clip.weight != 1.0 for clip in table.clips)
    more = (_COLUMNS_SOUND if has_sounds else ()) + (_COLUMNS_WEIGHT if has_weights else ())
    writer.writerow((*_COLUMNS, *more))
    seen: set[tuple[object, ...]] = set()
    for clip in table.clips:
        key = (clip.path, clip.start_s, clip.end_s)
        if key in seen:
            raise InputError(
                "unsupported",
                f"clips of {clip.path.name} are the same part of one file with different labels, "
                "which a table cannot hold: use --split corrected",
            )
        seen.add(key)
        row = _row(clip, roots)
        if has_sounds:
            row += [_joined(str(sound[end]) for sound in clip.sounds) for end in (0, 1)]
        writer.writerow(row + ([repr(clip.weight)] if has_weights else []))
    write_text(path, text.getvalue())


def _row(clip: Clip, roots: Sequence[Path]) -> list[str]:
    root = next((root for root in roots if clip.path.is_relative_to(root)), None)
    name = clip.path if root is None else clip.path.relative_to(root)
    times = ("" if x is None else repr(x) for x in (clip.start_s, clip.end_s))
    boxes = _joined(",".join(str(edge) for edge in box) for box in clip.boxes)
    return [
        escape_name(name.as_posix()),
        _joined(label_texts(clip)),
        clip.split,
        *times,
        clip.source,
        boxes,
    ]


def _joined(items: Iterable[str]) -> str:
    return "|".join(items)


def common_folder(clips: Sequence[Clip]) -> Path:
    """Return the common folder of all files of clips, at least one."""
    parents = {clip.path.parent for clip in clips}
    common = parents.pop()
    while not all(parent.is_relative_to(common) for parent in parents):
        common = common.parent
    return common


def _is_ours(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.readline().startswith(",".join(_COLUMNS))
