"""Stores of the table of real recordings, without test clips, and their five folds.

Tokens are computed once for each set and pair of encoders. A fold is a view of that store: the same
arrays with other splits, so that no fold takes space on the disk.
"""

from __future__ import annotations

import csv
import dataclasses
import io
from pathlib import Path

from few_shot import few_shot
from folds import NUM_FOLDS, SPLITS, folds

import cign
from cign.data.clips import Clip, ClipTable
from cign.data.store import Store
from cign.data.tokens import cache_names
from cign.errors import InputError
from cign.utils.files import write_text

SETS = ("real24", "real24_clutter", "real24_duets")
# Name in the table -> backbone. The floor has the networks of `small` with random weights, and
# reads the same frames and audio: both are in one store.
BACKBONES = {"lite0+sfx": "lite0+sfx", "small": "small", "random": "small-random"}
SHARED = {"random": "small"}


def write_list(built: Path, target: Path) -> None:
    """Write the rows of a set's ``clips.csv`` that are for training or validation.

    Args:
        built: Folder of the built set.
        target: CSV file, which is written only if it changes.

    Raises:
        InputError: If the set is missing or has no such clip.
    """
    path = built / "clips.csv"
    if not path.is_file():
        raise InputError(
            "file-missing", f"{path} does not exist: build the sets with `make real-sets`"
        )
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


def store_folder(work: Path, dataset: str, backbone: str) -> Path:
    """Folder of the store of a set and pair of encoders."""
    return work / "stores" / f"{dataset}-{SHARED.get(backbone, backbone)}"


def prepare_store(real: Path, work: Path, dataset: str, backbone: str) -> Path:
    """Prepare the training and validation clips of a set; a finished store is not changed.

    Args:
        real: Folder of the built sets.
        work: Folder of lists and stores.
        dataset: One of `SETS`.
        backbone: One of `BACKBONES`.

    Returns:
        Folder of the store.
    """
    folder = store_folder(work, dataset, backbone)
    if (folder / "store.json").is_file() and token_name(folder, backbone) is not None:
        return folder
    lists = work / "lists"
    lists.mkdir(parents=True, exist_ok=True)
    write_list(real / dataset, lists / f"{dataset}.csv")
    cign.prepare(
        lists / f"{dataset}.csv",
        folder,
        backbone=BACKBONES[backbone],
        media=[real / dataset],
    )
    return folder


def token_name(folder: Path, backbone: str) -> str | None:
    """Name of a pair's tokens in a store, which includes the token grid; None without tokens."""
    wanted = BACKBONES[backbone]
    names = (name for name in cache_names(folder) if name.partition("@")[0] == wanted)
    return next(names, None)


def view(store: Store, number: int, num_shots: int | None = None) -> Store:
    """A fold of a store: its training clips, and its test clips as split ``test``.

    Args:
        store: Of training and validation clips only.
        number: Of the fold, from 0.
        num_shots: Training clips of each class that remain; None for all.

    Raises:
        InputError: If the store has clips of other splits, or the fold leaves a class without
            enough training clips.
    """
    clips = store.table.clips
    other = [clip for clip in clips if clip.split not in SPLITS]
    if other:
        raise InputError(
            "bad-value",
            f"store {store.folder} has {len(other)} clips of other splits than "
            f"{' and '.join(SPLITS)}, for example {other[0].id}: prepare it from `write_list`",
        )
    fold = folds(clips, NUM_FOLDS)[number]
    split_of = dict.fromkeys(fold.train, "train") | dict.fromkeys(fold.test, "test")
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
    )
