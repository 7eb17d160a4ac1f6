"""Last step of preparing: turn the decoded clips into a store, and write its report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cign.data.arrays import RowWriter, open_array
from cign.data.clip_file import write_clips
from cign.data.clips import ClipTable, Ignored
from cign.data.intact import checksum
from cign.data.media.decode import THRESHOLDS, MediaSpec
from cign.data.prepare.findings import (
    Findings,
    Problem,
    is_usable,
    read_problems,
    shared_sources,
    summarise,
    write_problems,
)
from cign.data.prepare.worker import Answer
from cign.data.store import Store, format_of
from cign.errors import InputError
from cign.utils.file_text import escape_name
from cign.utils.files import read_json, write_json


@dataclass(frozen=True, kw_only=True)
class PrepareReport:
    """Report on a prepared store and the problems of its source.

    Attributes:
        store: The store's folder.
        num_listed: Clips in the list.
        num_usable: Clips in the store.
        conditions: Number of clips of each condition, see ``docs/media.md``.
        num_duplicates: Clips whose decoded content equals that of an earlier clip.
        num_duplicates_across: Duplicates whose earlier clip is in another split.
        shared_sources: Per pair of splits, see `cign.data.prepare.findings.shared_sources`.
        counts: Usable clips per split and class.
        list_hash: Hash of the whole list.
        notes: Notes on entries of the list that were ignored.
        problems: One entry for each clip and condition that needs attention, the most severe
            first.
        class_names: The classes to be learned.
        ignored: Files and folders of the source that are not clips.
        backbone: Name of the backbone whose tokens are cached, if any.
    """

    store: Path
    num_listed: int
    num_usable: int
    conditions: dict[str, int]
    num_duplicates: int
    num_duplicates_across: int
    shared_sources: list[dict[str, Any]]
    counts: dict[str, dict[str, int]]
    list_hash: str
    notes: tuple[str, ...]
    problems: tuple[Problem, ...]
    class_names: tuple[str, ...] = ()
    ignored: tuple[Ignored, ...] = ()
    backbone: str | None = None


def check_usable(
    table: ClipTable, answers: Mapping[int, Answer], source: Path, require_train: bool
) -> None:
    """Reject a source with too few usable clips.

    Raises:
        InputError: If no clip is usable, or a class has no usable training clip.
    """
    usable = [clip for row, clip in enumerate(table.clips) if is_usable(answers[row])]
    if not usable:
        commonest = Counter(str(a["conditions"][0][0]) for a in answers.values()).most_common(1)
        raise InputError(
            "no-clips",
            f"source {source} has no usable clip: of {len(table.clips)} listed, "
            f"{commonest[0][1]} are {commonest[0][0]}; check the files, or --media",
        )
    trained = {name for clip in usable if clip.split == "train" for name in clip.labels}
    lost = [name for name in table.class_names if name not in trained]
    if require_train and lost:
        raise InputError(
            "no-clips",
            f"source {source}: no training clip of class {lost[0]!r} is usable"
            + (f" (nor of {len(lost) - 1} other classes)" if len(lost) > 1 else "")
            + ": replace its files, or take the class out of the list",
        )


def finish_store(
    table: ClipTable,
    spec: MediaSpec | None,
    folder: Path,
    fingerprint: str,
    answers: Mapping[int, Answer],
    source: Path,
) -> None:
    """Write the tables and, last, ``store.json``, whose presence marks a complete store.

    Args:
        table: The list.
        spec: Frames and audio of the clips; None for a store of features.
        folder: The store's folder.
        fingerprint: Hash of everything that determines the store's contents.
        answers: The answer for each clip, by its position in the list.
        source: The source of the clips.
    """
    lost = [row for row, answer in answers.items() if not is_usable(answer)]
    if spec is not None:
        for name in ("frames", "audio"):
            _clear(folder / f"{name}.npy", lost)
    rows = [row for row in range(len(table.clips)) if is_usable(answers[row])]
    clips = [table.clips[row] for row in rows]
    found = [
        {k: v for k, v in answers[row].items() if k not in ("conditions", "stamp")} for row in rows
    ]
    findings: Findings = summarise(table.clips, answers)
    usable = ClipTable(clips=tuple(clips), class_names=table.class_names)
    write_clips(folder / "clips.parquet", clips, found)
    write_problems(folder, findings.problems, table.ignored)
    write_json(
        folder / "report.json",
        {
            **findings.to_dict(),
            "shared_sources": shared_sources(table),
            "counts": usable.counts(),
            "notes": list(table.notes),
        },
    )
    write_json(
        folder / "store.json",
        {
            "format": format_of(table),
            "fingerprint": fingerprint,
            "list_hash": table.list_hash,
            "source": escape_name(str(Path(source).absolute())),
            "num_rows": len(table.clips),
            "num_clips": len(clips),
            "spec": None if spec is None else spec.to_dict(),
            "thresholds": THRESHOLDS,
            "class_names": list(table.class_names),
            "checksums": {"clips.parquet": checksum(folder / "clips.parquet")},
            # The generator's record, so that the corpus's accuracy limit can be printed with
            # results.
            "synth": _synth_record(source),
        },
    )


def _clear(path: Path, rows: Sequence[int]) -> None:
    """Set rows to zero where a decoder crashed while writing, or where a file was replaced.

    Rows that are already zero are not written: most clips of a benchmark's list may be missing.
    """
    array = open_array(path)
    with RowWriter(path) as writer:
        for row in rows:
            if array[row].any():
                writer.write(row, np.zeros((1, *array.shape[1:]), array.dtype))
        writer.sync()


def _synth_record(source: Path) -> Any:
    record = Path(source) / "synth.json"
    return read_json(record, "record of the synthetic corpus") if record.is_file() else None


def read_report(store: Store, backbone: str | None = None) -> PrepareReport:
    """Read the report of a store.

    Raises:
        InputError: If it is damaged.
    """
    values = store.report
    try:
        problems, ignored = read_problems(store.folder)
        return PrepareReport(
            store=store.folder,
            **{**values, "notes": tuple(values["notes"])},
            list_hash=store.list_hash,
            problems=problems,
            class_names=store.class_names,
            ignored=ignored,
            backbone=backbone,
        )
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(
            "damaged",
            f"the report of store {store.folder} is damaged ({error}): restore report.json and "
            "problems.parquet, or prepare again into a new folder",
        ) from None
