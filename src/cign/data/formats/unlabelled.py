"""Reader of tables of clips whose labels are unknown or ignored."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cign.data.clips import Clip, check_times, clip_id
from cign.data.formats import existing, read_source
from cign.data.formats.delimited import read_delimited
from cign.data.formats.detect import detect_format
from cign.data.formats.paths import find_media, local_path, relative_inside
from cign.data.formats.split_names import sure_split
from cign.data.formats.table import number_of, read_parquet, source_of, table_in, text_of
from cign.data.tokens import FEATURES
from cign.errors import InputError, one_of
from cign.utils.file_text import escape_name
from cign.vocabulary import SPLITS

REQUIRED = ("path",)


def read_unlabelled(
    source: Path, *, format: str | None = None, media: Sequence[Path] = ()
) -> tuple[Clip, ...]:
    """Read a list of clips without their labels.

    A table needs the column ``path``; ``split``, ``start_s``, ``end_s`` and ``source`` are used,
    and an empty split is train. The published list of a benchmark is read as by
    `cign.data.formats.read_source`.

    Args:
        source: A table, a folder with one, or the list of a benchmark.
        format: Name of a registered format; detected if absent.
        media: Folders that the listed paths are relative to; the list's own folder if empty.

    Returns:
        The clips without labels, each once. Whether the files exist is not checked.

    Raises:
        InputError: If the list is invalid or holds features instead of clips.
    """
    source = existing(source)
    for folder in media:
        if not Path(folder).is_dir():
            raise InputError("file-missing", f"media folder {folder} does not exist: check --media")
    name = detect_format(source) if format is None else format
    if name == FEATURES:
        raise InputError(
            "wrong-format",
            f"source {source} holds features: prepare a store of them with `cign prepare`, and "
            "give that",
        )
    roots = [Path(folder).absolute() for folder in media]
    if name == "table":
        clips = _of_table(source, roots)
    else:
        table = read_source(source, format=format, media=media, min_classes=1, require_train=False)
        clips = list(table.clips)
    unique = {clip.id: _without_labels(clip) for clip in clips}
    return tuple(unique.values())


def _of_table(source: Path, media: Sequence[Path]) -> list[Clip]:
    table = (table_in(source) or source) if source.is_dir() else source
    if table.suffix.lower() == ".parquet":
        columns, rows = read_parquet(table)
    else:
        columns, rows = read_delimited(table, "table", REQUIRED)
    if "path" not in columns:
        raise InputError(
            "wrong-format", f"table {table} has no column 'path': name the media files in it"
        )
    roots = list(media) or [table.parent]
    clips = []
    for where, row in rows:
        path = local_path(text_of(row["path"]), roots, where)
        relative = relative_inside(path, roots, where)
        given = text_of(row.get("split"))
        split = sure_split(given) if given else "train"
        if split is None:
            raise one_of(given, SPLITS, f"split in {where}")
        start_s, end_s = (number_of(row.get(name), name, where) for name in ("start_s", "end_s"))
        check_times(start_s, end_s, where)
        identity = escape_name(relative)
        clips.append(
            Clip(
                id=clip_id(identity, start_s, end_s),
                path=find_media(relative, roots),
                labels=(),
                split=split,
                start_s=start_s,
                end_s=end_s,
                source=source_of(row.get("source"), where) or identity,
            )
        )
    return clips


def _without_labels(clip: Clip) -> Clip:
    return Clip(
        id=clip.id,
        path=clip.path,
        labels=(),
        split=clip.split,
        start_s=clip.start_s,
        end_s=clip.end_s,
        source=clip.source,
    )
