"""Small made lists: written into a folder, read as any source is, asked what they hold."""

from __future__ import annotations

from pathlib import Path

from cign.data.clips import Clip, ClipTable
from cign.data.formats import read_source


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    return folder


def read(source: Path, format: str | None = None, **options) -> ClipTable:
    return read_source(source, format=format, min_classes=1, require_train=False, **options)


def by_id(table: ClipTable) -> dict[str, Clip]:
    return {clip.id: clip for clip in table.clips}


def said(table: ClipTable, text: str) -> bool:
    return any(text in note for note in table.notes)
