"""Prepare precomputed features: check them and write them as the tokens of a store.

Such a store has no frames and no audio. Everything that reads tokens works on it.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cign.data.arrays import RowWriter, check_space, create_array, disk_errors, num_bytes
from cign.data.clips import ClipTable, hash_lines
from cign.data.formats import existing, table_of
from cign.data.formats.features.source import (
    IN_MEMORY,
    KINDS,
    Features,
    holds_features,
    open_features,
)
from cign.data.formats.labels import with_whole_numbers
from cign.data.intact import write_checksums
from cign.data.media.decode import content_hash
from cign.data.prepare.feature_checks import FeatureCheck, blocks, to_half
from cign.data.prepare.finishing import PrepareReport, check_usable, finish_store, read_report
from cign.data.prepare.journal import Journal
from cign.data.prepare.pipeline import check_folder, clip_values
from cign.data.prepare.worker import Answer, failed
from cign.data.store import Store, format_of
from cign.data.tokens import FEATURES, features_name, token_shapes, tokens_folder
from cign.data.tokens import FORMAT as TOKEN_FORMAT
from cign.utils.display import displayed
from cign.utils.files import write_json
from cign.utils.leftovers import held_folder
from cign.utils.progress import Progress


def is_feature_source(source: Path | str | Mapping[str, Any], format: str | None = None) -> bool:
    """Return whether a source, read in a format, holds features and not clips."""
    if isinstance(source, Mapping):
        return True
    return format == FEATURES or (format is None and holds_features(Path(source)))


def prepare_features(
    source: Path | str | Mapping[str, Any],
    store_folder: Path | str,
    *,
    encoders: str | None = None,
    media: Sequence[Path] = (),
    split: str | None = None,
    min_classes: int = 2,
    require_train: bool = True,
    progress: Progress | bool | None = None,
) -> PrepareReport:
    """Create the store of precomputed features.

    A clip whose features of a modality are all zero lacks that modality.

    Args:
        source: See `cign.data.formats.features.source.open_features`.
        store_folder: Folder of the store; an unchanged store of the same features is reused.
        encoders: Name of the encoders that computed the features. Stores with the same name and
            shapes belong together: a model trained on one is evaluated on, or extended by, the
            other. Without a name a store belongs only to itself.
        media: See `cign.data.formats.features.source.open_features`.
        split: See `cign.data.formats.read_source`.
        min_classes: See `cign.data.clips.make_table`.
        require_train: See `cign.data.clips.make_table`.
        progress: As for `cign.data.prepare.pipeline.prepare`.

    Raises:
        InputError: If the features are unusable, or the folder holds other data.
        RunError: If the disk is full.
    """
    name = features_name(encoders)
    if not isinstance(source, Mapping):
        source = existing(Path(source))
    place, folder = IN_MEMORY if isinstance(source, Mapping) else source, Path(store_folder)
    features = open_features(source, media)
    what = "the dictionary" if place is IN_MEMORY else f"source {source}"
    table = table_of(
        with_whole_numbers(features.listing),
        what,
        split=split,
        min_classes=min_classes,
        require_train=require_train,
    )
    with displayed(progress) as display:
        data = _checked(features, table, what, display)
        info = _token_info(name, data)
        fingerprint = _fingerprint(table, info, data)
        check_folder(folder, fingerprint)
        with disk_errors(folder), held_folder(folder, "store"):
            check_folder(folder, fingerprint)  # again: another process may have changed it
            if not (folder / "store.json").exists():
                check_usable(table, data.answers, place, require_train)
                with contextlib.closing(Journal(folder / "journal.jsonl", fingerprint)):
                    _write_tokens(folder, info, data, display)
                table = replace(table, notes=(*table.notes, *data.notes))
                finish_store(table, None, folder, fingerprint, data.answers, place)
            (folder / "journal.jsonl").unlink(missing_ok=True)
    return read_report(Store.open(folder), name)


@dataclass(frozen=True, kw_only=True)
class _Checked:
    """Features that were read once and found usable.

    Attributes:
        features: The features.
        rows: Row of each clip of the table in the features, int64 [N].
        answers: For each clip whether it is usable, as from a decoder.
        notes: Notes for the report.
        content: Hash of the features of all clips.
    """

    features: Features
    rows: NDArray[np.int64]
    answers: dict[int, Answer]
    notes: tuple[str, ...]
    content: str


def _checked(features: Features, table: ClipTable, what: str, progress: Progress) -> _Checked:
    """Read and check the features of all clips.

    Raises:
        InputError: If they cannot be used.
    """
    row_of = {clip.id: row for row, clip in enumerate(features.listing.clips)}
    rows = np.array([row_of[clip.id] for clip in table.clips], np.int64)
    ids = [clip.id for clip in table.clips]
    checks = {kind: FeatureCheck(f"{kind} of {what}", ids) for kind in KINDS}
    answers: dict[int, Answer] = {}
    digest = hashlib.sha256()
    progress.start("checking features", len(rows))
    for start, end in blocks(len(rows), features.audio, features.visual):
        audio = features.audio.read(rows[start:end])
        visual = features.visual.read(rows[start:end])
        checks["audio"].add(start, audio)
        checks["visual"].add(start, visual)
        for row, pair in enumerate(zip(to_half(audio), to_half(visual), strict=True), start):
            answers[row] = _answer(row, *pair)
            digest.update(str(answers[row].get("content_hash")).encode())
        progress.advance(end - start)
    progress.stop()
    notes = tuple(note for check in checks.values() for note in check.finish())
    return _Checked(
        features=features, rows=rows, answers=answers, notes=notes, content=digest.hexdigest()
    )


def _answer(row: int, audio: NDArray[np.float16], visual: NDArray[np.float16]) -> Answer:
    """What a decoder would answer for a clip with these features."""
    has_audio, has_visual = bool(audio.any()), bool(visual.any())
    if not has_audio and not has_visual:
        return failed(row, "no features", "all audio and visual features are zero")
    conditions = [
        ["one modality", f"all {kind} features are zero"]
        for kind, is_present in (("audio", has_audio), ("visual", has_visual))
        if not is_present
    ]
    return {
        "row": row,
        "conditions": conditions,
        "audio_ok": has_audio,
        "visual_ok": has_visual,
        "content_hash": content_hash(
            visual.view(np.uint8), audio.view(np.int16), has_audio, has_visual
        ),
    }


def _token_info(name: str, data: _Checked) -> dict[str, Any]:
    """Contents of ``tokens.json``."""
    info: dict[str, Any] = {"format": TOKEN_FORMAT, "backbone": name, "source": name}
    for kind, rows in (("audio", data.features.audio), ("visual", data.features.visual)):
        _, info[f"num_{kind}_tokens"], info[f"{kind}_dim"] = rows.shape
        info[f"{kind}_grid"] = None
    is_named = name != FEATURES
    info["fingerprint"] = hash_lines([info] if is_named else [info, data.content])
    return info


def _fingerprint(table: ClipTable, info: dict[str, Any], data: _Checked) -> str:
    """Hash everything that determines the store's contents."""
    return hash_lines(
        [[format_of(table), info, data.content, table.class_names], *clip_values(table)]
    )


def _write_tokens(folder: Path, info: dict[str, Any], data: _Checked, progress: Progress) -> None:
    """Write the tokens; their rows are in the order of the table."""
    place, num_rows = tokens_folder(folder, info["backbone"]), len(data.rows)
    shapes = token_shapes(info, num_rows)
    place.mkdir(parents=True, exist_ok=True)
    check_space(folder, sum(num_bytes(shape, "float16") for shape in shapes.values()))
    progress.start("writing tokens", 2 * num_rows)
    for kind, rows in (("audio", data.features.audio), ("visual", data.features.visual)):
        create_array(place / f"{kind}.npy", shapes[kind], "float16")
        with RowWriter(place / f"{kind}.npy") as writer:
            for start, end in blocks(num_rows, rows):
                writer.write(start, to_half(rows.read(data.rows[start:end])))
                progress.advance(end - start)
            writer.sync()
    progress.stop()
    write_checksums(place)
    write_json(place / "tokens.json", info)
