"""Prepare a source: decode every clip once into a store, and cache its tokens.

The work can be interrupted at any time; the same call resumes it and gives bit-exact results.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from cign.data.arrays import (
    check_space,
    create_array,
    disk_errors,
    full_disk,
    num_bytes,
    open_array,
)
from cign.data.benchmarks import Benchmark, read_benchmark
from cign.data.clip_file import CLIP_COLUMNS
from cign.data.clips import ClipTable, hash_lines
from cign.data.formats.features.source import holds_features
from cign.data.media.decode import THRESHOLDS, MediaSpec, content_hash
from cign.data.media.image_files import pictures_of
from cign.data.prepare.findings import is_usable
from cign.data.prepare.finishing import PrepareReport, check_usable, finish_store, read_report
from cign.data.prepare.journal import Journal
from cign.data.prepare.sizes import check_sizes, save_sizes
from cign.data.prepare.token_making import (
    TokenMaker,
    check_backbone,
    check_token_space,
    describe_tokens,
    make_tokens,
)
from cign.data.prepare.worker import Answer
from cign.data.prepare.workers import decode_all
from cign.data.shards import on_disk
from cign.data.store import Store, format_of, frames_shape
from cign.data.tokens import FEATURES
from cign.errors import InputError
from cign.utils.cluster import check_engine
from cign.utils.display import displayed
from cign.utils.files import read_json
from cign.utils.leftovers import held_folder
from cign.utils.pool import Task
from cign.utils.progress import Progress

Decode = Callable[..., Iterator[Answer]]

__all__ = ["PrepareReport", "prepare", "work_fingerprint"]


def prepare(
    source: Path | str,
    store_folder: Path | str,
    *,
    spec: MediaSpec | None = None,
    backbone: TokenMaker | None = None,
    format: str | None = None,
    media: Sequence[Path] = (),
    split: str | None = None,
    benchmark: Benchmark | None = None,
    num_workers: int | None = None,
    engine: str = "local",
    batch_size: int = 32,
    timeout_s: float = 300.0,
    min_classes: int = 2,
    require_train: bool = True,
    progress: Progress | bool | None = None,
) -> PrepareReport:
    """Create the store of a source, or finish one, and cache the tokens of a backbone.

    Args:
        source: See `cign.data.formats.read_source`.
        store_folder: Folder of the store. A store of the same source and settings is reused
            unchanged, so that the tokens of another backbone can be added.
        spec: Frames and audio to take from each clip; if absent, the backbone's specification,
            or the default without a backbone.
        backbone: The backbone whose tokens are cached, if any.
        format: See `cign.data.formats.read_source`.
        media: See `cign.data.formats.read_source`.
        split: See `cign.data.formats.read_source`.
        benchmark: The benchmark that selects the classes; also sets format and split where they
            are not given.
        num_workers: Decoding processes; one per core if absent, only this process if 0.
        engine: Where clips are decoded: ``local``, or ``ray`` for the machines of a cluster. The
            results are bit-exact equal.
        batch_size: Clips per batch of the backbone.
        timeout_s: Decoding time limit per file in seconds; a file that takes longer is left out.
        min_classes: See `cign.data.clips.make_table`.
        require_train: See `cign.data.clips.make_table`.
        progress: Notified of every clip; None shows a progress bar in a terminal or notebook,
            False shows none.

    Raises:
        InputError: If the source is unusable, or the folder holds other data.
        RunError: If the disk is full.
    """
    check_engine(engine, num_workers)
    if format == FEATURES or (format is None and holds_features(Path(source))):
        raise InputError(
            "wrong-format",
            f"source {source} holds features and not clips: prepare it with "
            "cign.data.prepare.features",
        )
    spec = spec or (backbone.spec if backbone is not None else MediaSpec())
    if backbone is not None:
        check_backbone(spec, backbone, "the new store")
    source, store_folder = Path(source), Path(store_folder)
    kind: dict[str, Any] = {"format": format, "media": media, "split": split}
    needed: dict[str, Any] = {"min_classes": min_classes, "require_train": require_train}
    table = read_benchmark(benchmark, source, **kind, **needed)
    fingerprint = work_fingerprint(table, spec)
    check_folder(store_folder, fingerprint)
    size_note = None
    if backbone is not None:
        num_rows = len(table.clips)
        is_started = (store_folder / "audio.npy").exists()
        media_bytes = 0 if is_started else sum(_media_bytes(num_rows, spec))
        if check_token_space(store_folder, backbone, num_rows, media_bytes):
            size_note = describe_tokens(backbone, num_rows)
    with (
        displayed(progress) as display,
        disk_errors(store_folder),
        held_folder(store_folder, "store"),
    ):
        if size_note is not None:
            display.note(size_note)
        check_folder(store_folder, fingerprint)  # again: another process may have changed it
        if not (store_folder / "store.json").exists():
            decoder = partial(_decoder(engine), num_workers=num_workers, timeout_s=timeout_s)
            answers = _decode(table, spec, store_folder, fingerprint, decoder, display)
            check_usable(table, answers, source, require_train)
            rows = range(len(table.clips))
            save_sizes(store_folder, (answers[row].get("stamp", []) for row in rows))
            finish_store(table, spec, store_folder, fingerprint, answers, source)
        else:
            stamps = (_stamp(clip.path) for clip in table.clips)
            check_sizes(store_folder, stamps, [clip.id for clip in table.clips])
        (store_folder / "journal.jsonl").unlink(missing_ok=True)
        store = Store.open(store_folder)
        if backbone is not None:
            make_tokens(store, backbone, batch_size=batch_size, progress=display)
    return read_report(store, None if backbone is None else backbone.name)


def work_fingerprint(table: ClipTable, spec: MediaSpec) -> str:
    """Hash everything that determines a store's contents, except the content of the files."""
    first = [format_of(table), spec.to_dict(), THRESHOLDS, table.class_names]
    return hash_lines([first, *clip_values(table)])


def clip_values(table: ClipTable) -> list[list[Any]]:
    """Return each clip's position and values, except its path, as JSON values."""
    return [
        [
            number,
            {name: getattr(clip, name) for name in CLIP_COLUMNS if name != "path"}
            | clip.uncertainty,
        ]
        for number, clip in enumerate(table.clips)
    ]


def check_folder(folder: Path, fingerprint: str) -> None:
    """Reject a folder that holds another store, or files that are not a store.

    Raises:
        InputError: Naming the folder.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError("bad-output", f"store {folder} is a file: give a new folder")
    if (folder / "store.json").exists():
        info = read_json(folder / "store.json", "store")
        if not isinstance(info, dict) or info.get("fingerprint") != fingerprint:
            raise InputError(
                "resume-mismatch",
                f"store {folder} was made from another list or with other settings: use another "
                "folder",
            )
        return
    if not folder.exists() or (folder / "journal.jsonl").exists():
        return
    others = [path.name for path in folder.iterdir() if path.name != ".lock"]
    if others:
        raise InputError(
            "bad-output",
            f"folder {folder} is neither empty nor a store (it contains {sorted(others)[0]!r}): "
            "use a new folder",
        )


def _media_bytes(num_rows: int, spec: MediaSpec) -> tuple[int, int]:
    """Return the sizes of frames and audio samples in bytes."""
    return (
        num_bytes(frames_shape(num_rows, spec), "uint8"),
        num_bytes((num_rows, spec.num_samples), "int16"),
    )


def _decoder(engine: str) -> Decode:
    """Return the decoding function of an engine."""
    if engine == "local":
        return decode_all
    from cign.data.prepare.cluster_workers import decode_on_cluster

    return decode_on_cluster


def _decode(
    table: ClipTable,
    spec: MediaSpec,
    folder: Path,
    fingerprint: str,
    decoder: Decode,
    progress: Progress,
) -> Mapping[int, Answer]:
    """Decode the clips that are not in the journal yet."""
    num_rows = len(table.clips)
    shapes = {
        "frames": (frames_shape(num_rows, spec), "uint8"),
        "audio": ((num_rows, spec.num_samples), "int16"),
    }
    if not (folder / "audio.npy").exists():
        check_space(folder, sum(_media_bytes(num_rows, spec)))
    journal = Journal(folder / "journal.jsonl", fingerprint)
    with contextlib.closing(journal):
        for name, (shape, dtype) in shapes.items():
            if not (folder / f"{name}.npy").exists():
                create_array(folder / f"{name}.npy", shape, dtype)
        stamps = [_stamp(clip.path) for clip in table.clips]
        done = _still_valid(journal.answers, stamps, folder)
        tasks: list[Task] = [
            {"row": row, "path": str(c.path), "start_s": c.start_s, "end_s": c.end_s}
            for row, c in enumerate(table.clips)
            if row not in done
        ]
        progress.start("decoding", num_rows)
        progress.advance(len(done))
        for answer in decoder(tasks, spec, folder):
            if "full" in answer:
                raise full_disk(folder, answer["full"])
            journal.add({**answer, "stamp": stamps[answer["row"]]})
            progress.advance()
        progress.stop()
        return dict(journal.answers)


def _stamp(path: Path) -> list[int]:
    """Return sizes and modification times of a clip's files, to detect replaced files."""
    try:
        states = [file.stat() for file in (on_disk(path), *pictures_of(path))]
    except OSError:
        return []
    return [number for state in states for number in (state.st_size, state.st_mtime_ns)]


def _still_valid(
    answers: Mapping[int, Answer], stamps: Sequence[list[int]], folder: Path
) -> set[int]:
    """Return the rows whose file is unchanged and whose decoded values on disk are intact."""
    frames = open_array(folder / "frames.npy")
    audio = open_array(folder / "audio.npy")
    return {
        row
        for row, answer in answers.items()
        if answer.get("stamp") == stamps[row]
        and (
            not is_usable(answer)
            or answer["content_hash"]
            == content_hash(frames[row], audio[row], answer["audio_ok"], answer["visual_ok"])
        )
    }
