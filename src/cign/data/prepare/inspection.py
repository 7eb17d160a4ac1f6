"""Inspect a source before it is prepared; the lists alone are sufficient."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cign.data.benchmarks import Benchmark, read_benchmark
from cign.data.clips import Ignored
from cign.data.formats.export import write_clip_table
from cign.data.formats.shard_export import ShardReport, write_shards
from cign.data.media.decode import MediaSpec
from cign.data.prepare.features import is_feature_source
from cign.data.prepare.findings import Findings, shared_sources, summarise
from cign.data.prepare.near_duplicates import NUM_WORDS, Words, across_splits, sound_words
from cign.data.prepare.worker import Answer
from cign.data.prepare.workers import decode_all
from cign.data.shards import media_exists
from cign.data.store import Store
from cign.errors import InputError
from cign.utils.pool import Task
from cign.utils.progress import Progress, Silent

# Sufficient to find broken, silent, still and duplicate clips; small, since nothing is stored.
_INSPECTION_SPEC = MediaSpec(frame_px=96, rate_hz=16000)


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """Contents of a source.

    Attributes:
        num_clips: Clips in the list.
        class_names: The classes, in class order 0.
        counts: Clips per split and class.
        num_missing: Clips whose file is missing.
        missing: Ids of the first missing clips (at most 20).
        shared_sources: Per pair of splits, see `cign.data.prepare.findings.shared_sources`.
        list_hash: Hash of the list.
        notes: Notes on entries of the list that were ignored.
        ignored: The files and folders that were ignored.
        findings: Problems found by decoding, if the files were decoded.
        near_duplicates: Clips of different splits with nearly the same audio, if the files were
            decoded; see `cign.data.prepare.near_duplicates.across_splits`.
        shards: Report on the shards that were written, if any.
    """

    num_clips: int
    class_names: tuple[str, ...]
    counts: dict[str, dict[str, int]]
    num_missing: int
    missing: tuple[str, ...]
    shared_sources: list[dict[str, Any]]
    list_hash: str
    notes: tuple[str, ...]
    ignored: tuple[Ignored, ...] = ()
    findings: Findings | None = None
    near_duplicates: tuple[dict[str, Any], ...] | None = None
    shards: ShardReport | None = None


def inspect_source(
    source: Path,
    *,
    format: str | None = None,
    media: Sequence[Path] = (),
    split: str | None = None,
    benchmark: Benchmark | None = None,
    decode_files: bool = False,
    num_workers: int | None = None,
    table_file: Path | None = None,
    shard_folder: Path | None = None,
    per_shard: int = 1000,
    progress: Progress | None = None,
) -> Inspection:
    """Inspect the contents of a source.

    Args:
        source: See `cign.data.formats.read_source`.
        format: See `cign.data.formats.read_source`.
        media: See `cign.data.formats.read_source`.
        split: See `cign.data.formats.read_source`.
        benchmark: The benchmark that selects the classes; also sets format and split where they
            are not given.
        decode_files: Whether to decode every clip's window, to find broken, silent, still and
            duplicate clips and clips with nearly the same audio. Takes about as long as preparing.
        num_workers: See `cign.data.prepare.workers.decode_all`.
        table_file: Path to write the list to as a CSV table of `cign`, if given.
        shard_folder: Folder to write the clips to as shards, if given.
        per_shard: Clips per shard.
        progress: Notified of every decoded clip.

    Raises:
        InputError: If the list cannot be read or contradicts itself.
    """
    progress = progress or Silent()
    kind: dict[str, Any] = {"format": format, "media": media, "split": split}
    table = read_benchmark(benchmark, Path(source), **kind, min_classes=1, require_train=False)
    if is_feature_source(source, format) and (decode_files or table_file or shard_folder):
        raise InputError(
            "unsupported",
            f"source {source} holds features and no media files: leave out --decode, --write-table "
            "and --write-shards; `cign prepare` checks the features",
        )
    if table_file is not None:
        write_clip_table(table, table_file, media)
    shards = None
    if shard_folder is not None:
        folder = Path(source) if Path(source).is_dir() else Path(source).parent
        shards = write_shards(table, shard_folder, per_shard, progress, folder / "synth.json")
    missing = [clip.id for clip in table.clips if not media_exists(clip.path)]
    findings = near = None
    if decode_files:
        tasks: list[Task] = [
            {"row": row, "path": str(c.path), "start_s": c.start_s, "end_s": c.end_s}
            for row, c in enumerate(table.clips)
        ]
        answers: dict[int, Answer] = {}
        progress.start("decoding", len(tasks))
        for answer in decode_all(tasks, _INSPECTION_SPEC, None, num_workers=num_workers):
            answers[answer["row"]] = answer
            progress.advance()
        progress.stop()
        findings = summarise(table.clips, answers)
        near = across_splits(table.clips, _fingerprints(answers))
    return Inspection(
        num_clips=len(table.clips),
        class_names=table.class_names,
        counts=table.counts(),
        num_missing=len(missing),
        missing=tuple(missing[:20]),
        shared_sources=shared_sources(table),
        list_hash=table.list_hash,
        notes=table.notes,
        ignored=table.ignored,
        findings=findings,
        near_duplicates=near,
        shards=shards,
    )


def _fingerprints(
    answers: Mapping[int, Answer],
) -> Iterator[tuple[int, Words, NDArray[np.bool_]]]:
    """Yield the audio fingerprints that the decoders computed, in the order of the list."""
    for row, answer in sorted(answers.items()):
        if "words" in answer:
            shape = (-1, NUM_WORDS)
            words = np.array(answer["words"], np.uint32).reshape(shape)
            yield row, words, np.array(answer["loud"], bool)


def listen_to_store(store: Store, progress: Progress | None = None) -> tuple[dict[str, Any], ...]:
    """Find near duplicates by audio between the splits of a prepared store."""
    progress = progress or Silent()
    progress.start("audio fingerprints", store.num_clips)

    def fingerprints() -> Iterator[tuple[int, Words, NDArray[np.bool_]]]:
        for row in range(store.num_clips):
            progress.advance()
            if store.audio_ok[row]:
                samples = store.audio(np.array([row]))[0]
                yield row, *sound_words(samples, store.media_spec.rate_hz)

    found = across_splits(store.table.clips, fingerprints())
    progress.stop()
    return found
