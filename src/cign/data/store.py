"""The prepared store: decoded clips in memory-mapped arrays, read in batches by index.

A store is a folder with ``store.json``, ``clips.parquet``, ``frames.npy``, ``audio.npy``,
``problems.parquet``, ``report.json`` and, for each backbone, ``tokens/<name>/``. The choice of
arrays instead of a table format is explained in ``docs/decisions/0001-store.md``. A store of
precomputed features has neither ``frames.npy`` nor ``audio.npy``; its features are the tokens.

Legend: N rows, one per listed clip; B requested clips; K frames, S pixels, L samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import index as as_index
from pathlib import Path
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cign.data.arrays import map_array
from cign.data.clip_file import read_clips
from cign.data.clips import ClipTable
from cign.data.media.decode import MediaSpec
from cign.data.report_file import read_report_file
from cign.data.tokens import Indices, TokenCache, cache_names
from cign.errors import InputError, one_of
from cign.utils.files import read_json
from cign.vocabulary import SPLITS

FORMAT = 2
"""The newest format; 1 for stores without weights, shares of labels and background."""

# A clip as returned by `Store.__getitem__`.
Item: TypeAlias = dict[str, Any]


def read_info(folder: Path) -> dict[str, Any]:
    """Read ``store.json``.

    Raises:
        InputError: If the store is missing, unfinished or of a newer format.
    """
    what = f"store {folder}"
    if not folder.is_dir():
        raise InputError(
            "file-missing", f"{what} does not exist: make it with `cign prepare SOURCE {folder}`"
        )
    if not (folder / "store.json").exists():
        raise InputError(
            "wrong-format", f"{what} is not finished or not a store: run `cign prepare` on it"
        )
    info = read_json(folder / "store.json", "store")
    number = info.get("format") if isinstance(info, dict) else None
    if not isinstance(number, int) or number > FORMAT:
        raise InputError(
            "wrong-version",
            f"{what} has format {number}, but this version reads formats up to {FORMAT}: update "
            "cign, or prepare the source again into a new folder",
        )
    assert isinstance(info, dict)
    return info


def _class_names(info: dict[str, Any]) -> tuple[str, ...]:
    """The classes of ``store.json``.

    Raises:
        ValueError: If they are not names.
    """
    names = info["class_names"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("class_names is not a list of names")
    return tuple(names)


@dataclass(frozen=True)
class Store:
    """Decoded clips of a source, addressed by their index 0..num_clips-1.

    Attributes:
        folder: Folder of the store.
        table: The usable clips, in the order of the source.
        spec: Frames and audio that were taken from each clip; None for a store of features, which
            has neither.
        list_hash: Hash of the complete list that the store was made from.
        audio_ok: bool [num_clips], whether there is an audio track.
        visual_ok: bool [num_clips], whether there is a video track.
        rows: int64 [num_clips], the array row of each clip.
        content_hashes: uint8 [num_clips, 32], SHA-256 of the decoded content of each clip.
        info: Contents of ``store.json``.
    """

    folder: Path
    table: ClipTable
    spec: MediaSpec | None
    list_hash: str
    audio_ok: NDArray[np.bool_]
    visual_ok: NDArray[np.bool_]
    rows: NDArray[np.int64]
    content_hashes: NDArray[np.uint8]
    info: dict[str, Any]

    @classmethod
    def open(cls, folder: Path | str) -> Self:
        """Open a finished store; its arrays are mapped, not read.

        Raises:
            InputError: If it is missing, unfinished, of a newer format, or inconsistent.
        """
        folder = Path(folder)
        what = f"store {folder}"
        info = read_info(folder)
        try:
            num_rows = int(info["num_rows"])
            clips, columns = read_clips(folder / "clips.parquet")
            store = cls(
                folder=folder,
                table=ClipTable(clips=clips, class_names=_class_names(info)),
                spec=None if info["spec"] is None else MediaSpec(**info["spec"]),
                list_hash=str(info["list_hash"]),
                audio_ok=np.array(columns["audio_ok"], np.bool_),
                visual_ok=np.array(columns["visual_ok"], np.bool_),
                rows=np.array(columns["row"], np.int64),
                content_hashes=_digests(columns["content_hash"]),
                info=info,
            )
        except (KeyError, TypeError, ValueError, OverflowError, OSError) as error:
            raise InputError(
                "damaged",
                f"{what} is damaged ({error}): restore it, or prepare again into a new folder",
            ) from None
        if len(store.rows) and not 0 <= store.rows.min() <= store.rows.max() < num_rows:
            raise InputError(
                "damaged", f"{what}: clips.parquet names rows beyond {num_rows}: restore it"
            )
        # Map both arrays now, so that a truncated array is found here and not in a later batch.
        if store.spec is not None:
            assert store._frames.shape[0] == store._audio.shape[0] == num_rows
        return store

    @cached_property
    def _frames(self) -> NDArray[np.uint8]:
        shape = frames_shape(self.info["num_rows"], self.media_spec)
        return map_array(self.folder / "frames.npy", shape, "uint8", f"store {self.folder}")

    @cached_property
    def _audio(self) -> NDArray[np.int16]:
        shape = (self.info["num_rows"], self.media_spec.num_samples)
        return map_array(self.folder / "audio.npy", shape, "int16", f"store {self.folder}")

    def __getstate__(self) -> dict[str, Any]:
        """Exclude the mapped arrays: a process that receives a store maps them itself."""
        return {k: v for k, v in self.__dict__.items() if k not in ("_frames", "_audio")}

    def __len__(self) -> int:
        return self.num_clips

    def __getitem__(self, index: int) -> Item:
        """Return a clip as arrays, see `cign.data.dataset.Store`.

        Args:
            index: From 0 to num_clips - 1, or from -num_clips to -1, counted from the end.

        Raises:
            IndexError: If there is no such clip.
        """
        number = as_index(index)
        if not -len(self) <= number < len(self):
            raise IndexError(
                f"store {self.folder} has {len(self)} clips; index {number} is out of range"
            )
        number %= len(self)
        clip = self.table.clips[number]
        known = [self._numbers[name] for name in clip.labels if name in self._numbers]
        targets = np.zeros(len(self.class_names), np.float32)
        targets[known] = 1.0
        return {
            "audio": self.audio([number])[0],
            "frames": self.frames([number])[0],
            "label": known[0] if known else -1,
            "targets": targets,
            "has_audio": bool(self.audio_ok[number]),
            "has_visual": bool(self.visual_ok[number]),
            "index": number,
            "id": clip.id,
        }

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.class_names)}

    @property
    def num_clips(self) -> int:
        """Number of usable clips."""
        return len(self.rows)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes to be learned, in class order 0."""
        return self.table.class_names

    @property
    def media_spec(self) -> MediaSpec:
        """The specification of frames and audio.

        Raises:
            InputError: If the store was prepared from features and has neither.
        """
        if self.spec is None:
            raise InputError(
                "unsupported",
                f"store {self.folder} was prepared from features and holds no frames or audio: "
                "use its tokens, or prepare a store from the clips themselves",
            )
        return self.spec

    @cached_property
    def report(self) -> dict[str, Any]:
        """Contents of ``report.json``, the report on preparing."""
        return read_report_file(self.folder / "report.json")

    def indices(self, split: str) -> NDArray[np.int64]:
        """Return the indices of the clips of a split.

        Raises:
            InputError: If there is no such split.
        """
        if split not in SPLITS:
            raise one_of(split, SPLITS, "split")
        hits = [index for index, clip in enumerate(self.table.clips) if clip.split == split]
        return np.array(hits, np.int64)

    def frames(self, indices: Indices) -> NDArray[np.uint8]:
        """Return a copy of clips' frames, uint8 RGB [B, K, S, S, 3]; zeros without video.

        Raises:
            InputError: If the store holds features and no frames.
        """
        return np.asarray(self._frames[self.rows[indices]])

    def audio(self, indices: Indices) -> NDArray[np.int16]:
        """Return a copy of clips' audio, int16 [B, L]; zeros without an audio track.

        Raises:
            InputError: If the store holds features and no audio.
        """
        return np.asarray(self._audio[self.rows[indices]])

    @property
    def backbones(self) -> tuple[str, ...]:
        """Names of the backbones whose tokens are cached."""
        return cache_names(self.folder)

    def tokens(self, backbone: str | None = None) -> TokenCache:
        """Open the cached tokens of a backbone.

        Args:
            backbone: Its name; may be omitted if the store has tokens of only one backbone.

        Raises:
            InputError: If there are no tokens, if they are damaged, or if no name is given and
                there are tokens of several backbones.
        """
        names = self.backbones
        if backbone is None:
            if len(names) != 1:
                owners = f"of {', '.join(names)}" if names else "of no backbone"
                raise InputError(
                    "missing-option",
                    f"store {self.folder} contains tokens {owners}: name one with --backbone"
                    + ("" if names else ", or make them with `cign prepare ... --backbone NAME`"),
                )
            backbone = names[0]
        return TokenCache.open(self.folder, backbone, self.rows, int(self.info["num_rows"]))


def format_of(table: ClipTable) -> int:
    """The format of a store of these clips: the oldest one that can hold them."""
    has_new = any(clip.uncertainty or clip.is_background for clip in table.clips)
    return FORMAT if has_new else 1


def frames_shape(num_rows: int, spec: MediaSpec) -> tuple[int, int, int, int, int]:
    """Return the shape of the array of frames."""
    return (num_rows, spec.num_frames, spec.frame_px, spec.frame_px, 3)


def _digests(texts: Sequence[str]) -> NDArray[np.uint8]:
    """SHA-256 in hexadecimal as bytes, shape [n, 32].

    Raises:
        ValueError: If one is something else.
    """
    digests = [bytes.fromhex(text) for text in texts]
    if any(len(digest) != 32 for digest in digests):
        raise ValueError("content_hash is not SHA-256")
    return np.frombuffer(b"".join(digests), np.uint8).reshape(len(digests), 32)
