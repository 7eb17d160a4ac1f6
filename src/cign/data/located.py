"""Where the clips of one or more stores lie on disk, to read them without their lists.

A store's list holds every clip as an object. A process that scores a part of a large store, or of
several stores, needs only where the tokens, or frames and audio, of these clips are.

Legend: n clips, B clips of a batch.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cign.data.arrays import map_array, release_pages
from cign.data.batches import ArraySource, BoolArray
from cign.data.media.decode import MediaSpec
from cign.data.store import Store, frames_shape, read_info
from cign.data.tasks import IntArray
from cign.data.tokens import TokenCache
from cign.errors import InputError, RunError


@dataclass(frozen=True)
class StoreArrays:
    """The arrays of a store that a model takes.

    Attributes:
        folder: Folder of the store, absolute.
        list_hash: Hash of its list, which another store at the same path does not have.
        backbone: Backbone of the tokens; None for frames and audio.
    """

    folder: Path
    list_hash: str
    backbone: str | None

    @classmethod
    def of(cls, store: Store, backbone: str | None) -> Self:
        """The arrays of an open store."""
        return cls(store.folder.absolute(), store.list_hash, backbone)

    def map(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Map audio and visual input of all rows into memory.

        Raises:
            RunError: If this machine cannot read the store, or has another one at its path.
            InputError: If its arrays are damaged.
        """
        where = f"machine {platform.node()}"
        remedy = "mount the stores under the same paths on all machines"
        try:
            info = read_info(self.folder)
        except InputError as error:
            raise RunError(
                "process-failed", f"{where} cannot read store {self.folder} ({error}): {remedy}"
            ) from None
        if info["list_hash"] != self.list_hash:
            raise RunError(
                "process-failed", f"{where} has another store at {self.folder}: {remedy}"
            )
        num_rows, what = int(info["num_rows"]), f"store {self.folder}"
        if self.backbone is not None:
            cache = TokenCache.open(self.folder, self.backbone, np.arange(num_rows), num_rows)
            return cache.arrays
        spec = MediaSpec(**info["spec"])
        shapes = (num_rows, spec.num_samples), frames_shape(num_rows, spec)
        return (
            map_array(self.folder / "audio.npy", shapes[0], "int16", what),
            map_array(self.folder / "frames.npy", shapes[1], "uint8", what),
        )


@dataclass(frozen=True, kw_only=True)
class Located:
    """Where some clips are.

    Attributes:
        stores: The stores.
        store: Number of the store of each clip, shape [n].
        row: Row of each clip in the arrays of its store, shape [n].
        has_audio: Whether each clip has audio, shape [n].
        has_visual: Whether each clip has video, shape [n].
        bytes_per_clip: Stored bytes of one clip.
    """

    stores: tuple[StoreArrays, ...]
    store: IntArray
    row: IntArray
    has_audio: BoolArray
    has_visual: BoolArray
    bytes_per_clip: int

    @classmethod
    def of(cls, stores: Sequence[Store], backbone: str | None, bytes_per_clip: int) -> Self:
        """All clips of some stores, one store after another."""
        return cls(
            stores=tuple(StoreArrays.of(store, backbone) for store in stores),
            store=np.repeat(np.arange(len(stores)), [store.num_clips for store in stores]),
            row=np.concatenate([store.rows for store in stores]),
            has_audio=np.concatenate([store.audio_ok for store in stores]),
            has_visual=np.concatenate([store.visual_ok for store in stores]),
            bytes_per_clip=bytes_per_clip,
        )

    def take(self, indices: IntArray) -> Self:
        """Some of the clips, and the stores that hold them."""
        used, store = np.unique(self.store[indices], return_inverse=True)
        return replace(
            self,
            stores=tuple(self.stores[number] for number in used),
            store=store,
            row=self.row[indices],
            has_audio=self.has_audio[indices],
            has_visual=self.has_visual[indices],
        )

    def source(self) -> ArraySource:
        """Map the arrays of the stores, and read the clips by their index.

        Raises:
            RunError: See `StoreArrays.map`.
            InputError: See `StoreArrays.map`.
        """
        pairs = [one.map() for one in self.stores]

        def reader(kind: int) -> Any:
            def read(indices: IntArray) -> NDArray[Any]:
                store, row = self.store[indices], self.row[indices]
                used = np.unique(store)
                if len(used) == 1:
                    return np.asarray(pairs[used[0]][kind][row])
                arrays = [pair[kind] for pair in pairs]
                values = np.empty((len(row), *arrays[0].shape[1:]), arrays[0].dtype)
                for number in used:
                    at = store == number
                    values[at] = arrays[number][row[at]]
                return values

            return read

        def release() -> None:
            for pair in pairs:
                for array in pair:
                    release_pages(array)

        return ArraySource(
            reader(0),
            reader(1),
            self.bytes_per_clip,
            self.has_audio,
            self.has_visual,
            release=release,
        )


def opened_source(source: ArraySource | Located) -> ArraySource:
    """A source whose arrays are mapped in this process."""
    return source.source() if isinstance(source, Located) else source
