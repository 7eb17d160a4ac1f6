"""Clips of several stores under one numbering: those to label, corrections, learned ones.

The page shows a frame and the sound of a clip from its store, and never a file of the source.
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cign.backbones.base import Backbone
from cign.data.batches import ArraySource
from cign.data.clips import Clip
from cign.data.formats.export import common_folder
from cign.data.formats.label_texts import NONE
from cign.data.media.decode import MediaSpec
from cign.data.prepare.pipeline import prepare
from cign.data.shards import on_disk
from cign.data.store import Store
from cign.data.tasks import HashArray, IntArray
from cign.errors import InputError
from cign.inference.inputs import NoFile
from cign.inference.sources import ClipsToLabel, model_source
from cign.labelling.audit_files import wav
from cign.labelling.proposing import listed_clips
from cign.report.clips import jpeg
from cign.saved_model.model import Model
from cign.updating.new_clips import num_clips, unprepared
from cign.utils.file_text import escape_name
from cign.utils.progress import Progress

_FRAME_PX = 480
_COLUMNS = ("path", "labels", "split", "start_s", "end_s", "source")


class ClipPool:
    """Clips of several stores; a clip is identified by the SHA-256 of its decoded content.

    Args:
        to_label: The store whose clips are proposed; None without.
        learned: A store of clips that the model has learned; None without.
    """

    def __init__(self, to_label: Store | None, learned: Store | None = None) -> None:
        self.stores: list[Store] = []
        self._starts: list[int] = []
        self._keys: list[str] = []
        self._first: dict[str, int] = {}  # number of the first clip of each content
        self._sources: dict[tuple[Any, ...], ArraySource] = {}
        self.num_to_label = 0 if to_label is None else to_label.num_clips
        for store in (to_label, learned):
            if store is not None:
                self.add(store)

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, store: Store) -> list[str]:
        """Add the clips of a store; returns their keys."""
        _ = store.media_spec  # refuse features, which cannot be shown
        start, keys = len(self), [content.tobytes().hex() for content in store.content_hashes]
        self.stores.append(store)
        self._starts.append(start)
        self._keys += keys
        for number, key in enumerate(keys, start):
            self._first.setdefault(key, number)
        return keys

    def key(self, number: int) -> str:
        """The key of a clip: its content hash in hexadecimal."""
        return self._keys[number]

    def __contains__(self, key: str) -> bool:
        return key in self._first

    def number(self, key: str) -> int:
        """The number of the first clip with a key."""
        return self._first[key]

    def clip(self, key: str) -> Clip:
        """The clip of a key, with the labels of its list."""
        store, row = self._at(self.number(key))
        return store.table.clips[row]

    def is_whole(self, key: str) -> bool:
        """Whether a clip has audio and video, which learning needs."""
        store, row = self._at(self.number(key))
        return bool(store.audio_ok[row] and store.visual_ok[row])

    def frame(self, key: str) -> str:
        """The middle frame of a clip as a data URL; empty without video."""
        store, row = self._at(self.number(key))
        if not store.visual_ok[row]:
            return ""
        frames = store.frames(np.array([row]))[0]
        return jpeg(frames[len(frames) // 2], _FRAME_PX)

    def sound(self, key: str) -> str:
        """The audio of a clip as a data URL; empty without."""
        store, row = self._at(self.number(key))
        if not store.audio_ok[row]:
            return ""
        return wav(store.audio(np.array([row]))[0], store.media_spec.rate_hz)

    def hashes(self, numbers: Sequence[int]) -> HashArray:
        """Content hashes of clips, uint8, shape [n, 32]."""
        digests = b"".join(bytes.fromhex(self.key(number)) for number in numbers)
        return np.frombuffer(digests, np.uint8).reshape(-1, 32)

    def _at(self, number: int) -> tuple[Store, int]:
        part = self._part(number)
        return self.stores[part], number - self._starts[part]

    def unlabelled(self, model: Model, done: set[str]) -> ClipsToLabel:
        """The clips to propose: those of split train with audio and video.

        Args:
            model: The model.
            done: Keys of clips that are labelled, learned or skipped.

        Raises:
            InputError: If there is no store of clips to label, or it does not suit the model.
        """
        if not self.num_to_label:
            raise InputError(
                "missing-option", "there are no clips to label: start the page with --clips SOURCE"
            )
        store, source = self.stores[0], self._source(model, 0)
        wanted, seen = [], set(done)
        for index in store.indices("train").tolist():
            key = self.key(index)
            if key not in seen and store.audio_ok[index] and store.visual_ok[index]:
                seen.add(key)
                wanted.append(index)
        return ClipsToLabel(
            clips=store.table.clips,
            source=source,
            hashes=store.content_hashes[wanted],
            indices=np.array(wanted, dtype=np.int64),
            where=f"store {store.folder}",
        )

    def source(self, model: Model, numbers: Sequence[int]) -> ArraySource:
        """Reads some clips as inputs of a model; they are numbered from 0.

        Raises:
            InputError: If a store does not suit the model.
        """
        used = {self._part(number) for number in numbers}
        sources = {part: self._source(model, part) for part in used}
        places = [(self._part(n), n - self._starts[self._part(n)]) for n in numbers]
        parts = np.array([part for part, _ in places], dtype=np.int64)
        rows = np.array([row for _, row in places], dtype=np.int64)

        def read(kind: str, indices: IntArray) -> NDArray[Any]:
            out: NDArray[Any] | None = None
            for part in np.unique(parts[indices]):
                here = parts[indices] == part
                values = getattr(sources[int(part)], kind)(rows[indices][here])
                if out is None:
                    out = np.empty((len(indices), *values.shape[1:]), values.dtype)
                out[here] = values
            assert out is not None, "no clip is read"
            return out

        stores = [self.stores[part] for part in parts]
        return ArraySource(
            lambda indices: read("audio", indices),
            lambda indices: read("visual", indices),
            max((source.bytes_per_clip for source in sources.values()), default=0),
            has_audio=np.array(
                [s.audio_ok[r] for s, r in zip(stores, rows, strict=True)], np.bool_
            ),
            has_visual=np.array(
                [s.visual_ok[r] for s, r in zip(stores, rows, strict=True)], np.bool_
            ),
        )

    def _source(self, model: Model, part: int) -> ArraySource:
        """Reads a store for a model; checksums are compared once, which may take seconds."""
        key = part, model.regime, model.backbone, model.fingerprint
        if key not in self._sources:
            self._sources[key] = model_source(model, self.stores[part])
        return self._sources[key]

    def _part(self, number: int) -> int:
        return int(np.searchsorted(self._starts, number, side="right")) - 1


def prepared(
    source: Path,
    work: Path,
    encoders: Backbone | MediaSpec,
    progress: Progress | None = None,
) -> tuple[Store, tuple[str, ...]]:
    """Prepare the clips to label once; a prepared store is used as it is.

    Args:
        source: A folder of media files in any layout, a table or other list, or a prepared store.
        work: Folder for the store.
        encoders: The model's backbone, or what the model's own encoders take.
        progress: Receives the progress of clips.

    Returns:
        The store, and notes on what was left out.

    Raises:
        InputError: If the source is invalid, or none of its clips can be decoded.
    """
    if unprepared(source) is None:
        return Store.open(source), ()
    items = listed_clips(source)
    clips = [one for one in items if not isinstance(one, NoFile)]
    lost = [one.name for one in items if isinstance(one, NoFile)]
    odd = next((clip for clip in clips if on_disk(clip.path) != clip.path), None)
    if not clips or odd is not None:
        raise InputError(
            "no-clips" if odd is None else "unsupported",
            f"{source} has no clip to label: give a folder with media files, a list, or a store"
            if odd is None
            else f"clip {odd.id} is inside a shard: `cign prepare` the source, and give the store",
        )
    root = common_folder(clips)
    work.mkdir(parents=True, exist_ok=True)
    table = work / "clips.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        for clip in clips:
            times = ("" if x is None else repr(x) for x in (clip.start_s, clip.end_s))
            place = escape_name(clip.path.relative_to(root).as_posix())
            writer.writerow((place, NONE, clip.split, *times, clip.source))
    makes: dict[str, Any] = {
        "spec" if isinstance(encoders, MediaSpec) else "backbone": encoders,
        "min_classes": 1,
        "require_train": False,
    }
    report = prepare(table, work / "store", media=[root], progress=progress, **makes)
    bad = [problem for problem in report.problems if not problem.kept]
    notes = []
    if bad or lost:
        example = f"{bad[0].clip} ({bad[0].detail})" if bad else lost[0]
        number = report.num_listed - report.num_usable + len(lost)
        notes.append(f"left out, not decoded: {num_clips(number)}, for example {example}")
    return Store.open(work / "store"), tuple(notes)


def prepare_one(clip: Path, folder: Path, encoders: Backbone | MediaSpec) -> Store:
    """Copy one clip into a new folder and prepare it there.

    Raises:
        InputError: If it cannot be decoded, or lacks audio or video, which learning needs.
    """
    folder.mkdir(parents=True)
    try:
        shutil.copyfile(clip, folder / f"clip{clip.suffix.lower()}")
        store, _ = prepared(folder, folder, encoders)
        if not (store.audio_ok[0] and store.visual_ok[0]):
            raise InputError(
                "bad-clip", f"{clip.name} lacks audio or video: only clips with both are learned"
            )
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return store
