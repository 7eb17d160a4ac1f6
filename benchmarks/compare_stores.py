"""Stores of comparison tables: lists without test clips, tokens, and views with other splits."""

from __future__ import annotations

import csv
import dataclasses
import io
from pathlib import Path

from few_shot import few_shot
from folds import SPLITS

import cign
from cign.data.clips import Clip, ClipTable
from cign.data.store import Store
from cign.data.tokens import cache_names
from cign.errors import InputError
from cign.utils.files import write_text

# Name in a table -> backbone. The floor has the networks of `small` with random weights, and reads
# the same frames and audio, as do the stems of `small` for prompt methods: all are in one store.
BACKBONES = {
    "lite0+sfx": "lite0+sfx",
    "small": "small",
    "random": "small-random",
    "small-stem": "small-stem",
}
SHARED = {"random": "small", "small-stem": "small"}


def write_list(built: Path, target: Path) -> None:
    """Write the rows of a set's ``clips.csv`` that are for training or validation.

    Args:
        built: Folder of the built set.
        target: CSV file, which is written only if it changes.

    Raises:
        InputError: If the set is missing or has no such clip.
    """
    path = built / "clips.csv"
    check_built(path)
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        rows = [row for row in reader if row["split"] in SPLITS]
        names = list(reader.fieldnames or ())
    if not rows:
        raise InputError("no-clips", f"{path} has no clip for training or validation")
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    if not target.is_file() or target.read_text(encoding="utf-8") != text.getvalue():
        write_text(target, text.getvalue())


def check_built(path: Path) -> None:
    """Refuse the list of a set that is not built.

    Raises:
        InputError: If the file does not exist.
    """
    if not path.is_file():
        raise InputError(
            "file-missing", f"{path} does not exist: build the sets with `make real-sets`"
        )


def is_prepared(folder: Path, backbone: str) -> bool:
    """Whether a store has the tokens of a pair of encoders."""
    return (folder / "store.json").is_file() and token_name(folder, backbone) is not None


def prepare(clips: Path, folder: Path, media: Path, backbone: str) -> None:
    """Prepare a store from a list.

    Args:
        clips: CSV file.
        folder: Folder of the store.
        media: Folder that the paths in the list are relative to.
        backbone: One of `BACKBONES`.

    Raises:
        InputError: If the list is missing.
    """
    check_built(clips)
    cign.prepare(clips, folder, backbone=BACKBONES[backbone], media=[media])


def token_name(folder: Path, backbone: str) -> str | None:
    """Name of a pair's tokens in a store, which includes the token grid; None without tokens."""
    wanted = BACKBONES[backbone]
    names = (name for name in cache_names(folder) if name.partition("@")[0] == wanted)
    return next(names, None)


def with_splits(store: Store, split_of: dict[int, str], num_shots: int | None) -> Store:
    """A view of some clips of a store with other splits.

    Args:
        store: The store.
        split_of: Split of each clip in the view, by its position in the list.
        num_shots: Training clips of each class that remain; None for all.

    Raises:
        InputError: If a class has fewer training clips.
    """
    clips = store.table.clips
    rows = sorted(split_of)
    chosen: list[Clip] = [dataclasses.replace(clips[i], split=split_of[i]) for i in rows]
    if num_shots is not None:
        kept = few_shot(chosen, num_shots)
        rows, chosen = [rows[i] for i in kept], [chosen[i] for i in kept]
    table = ClipTable(clips=tuple(chosen), class_names=store.class_names)
    return dataclasses.replace(
        store,
        table=table,
        list_hash=table.list_hash,
        audio_ok=store.audio_ok[rows],
        visual_ok=store.visual_ok[rows],
        rows=store.rows[rows],
        content_hashes=store.content_hashes[rows],
    )
