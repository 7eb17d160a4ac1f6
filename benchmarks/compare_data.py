"""The data of comparison tables: what is trained on and tested, part by part.

A part is what numbers are averaged over: a fold by source, a synthetic dataset, or the test clips
of a set as a whole. Tokens are computed once for each set and pair of encoders; a part is a view of
that store with other splits, which takes no space on the disk.
"""

from __future__ import annotations

import argparse
import functools
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from compare_stores import (
    BACKBONES,
    SHARED,
    is_prepared,
    prepare,
    with_splits,
    write_list,
)
from folds import NUM_FOLDS, SPLITS, folds
from stores import make_store, store_name

from cign.data.store import Store
from cign.errors import InputError, one_of

REAL_SETS = ("real24", "real24_clutter", "real24_duets")
MULTI_LABEL = ("real24_duets", "worlds-duet")
# Read once, with frozen recipes; 1 and 1001-1004 are for tuning, 2-6 for development.
WORLDS = (7, 8, 9, 10, 11)
TUNING_WORLD = 1
WORLD_CLIPS = argparse.Namespace(classes=24, train=60, val=10, test=50)
TUNING_TEST_CLIPS = 100  # of each class
LARGEST_CLASS = 200  # of the long-tailed datasets


class Data(ABC):
    """The data of a table.

    Attributes:
        name: Its name.
    """

    name: str

    @property
    def is_multi_label(self) -> bool:
        """Whether clips may have several labels."""
        return self.name.removesuffix("-test") in MULTI_LABEL

    @property
    @abstractmethod
    def num_parts(self) -> int:
        """Number of parts."""

    @abstractmethod
    def prepare(self, work: Path, real: Path, backbone: str) -> None:
        """Make the stores of a pair of encoders; finished ones are not changed.

        Args:
            work: Folder of lists and stores.
            real: Folder of the built sets of real recordings.
            backbone: One of `BACKBONES`.
        """

    @abstractmethod
    def folder(self, work: Path, part: int, backbone: str) -> Path:
        """Folder of the store of a part."""

    @abstractmethod
    def view(self, store: Store, part: int, num_shots: int | None = None) -> Store:
        """A part of a store: its training clips, and its test clips as split ``test``.

        Args:
            store: The store in `folder`.
            part: Number of the part, from 0.
            num_shots: Training clips of each class that remain; None for all.

        Raises:
            InputError: If the store has other clips than it should, or too few.
        """


@dataclass(frozen=True)
class Folds(Data):
    """Five folds by source over training and validation clips; test clips are not in the store.

    Attributes:
        name: One of `REAL_SETS`.
    """

    name: str

    @property
    def num_parts(self) -> int:
        """See `Data`."""
        return NUM_FOLDS

    def prepare(self, work: Path, real: Path, backbone: str) -> None:
        """See `Data`."""
        folder = self.folder(work, 0, backbone)
        if is_prepared(folder, backbone):
            return
        lists = work / "lists"
        lists.mkdir(parents=True, exist_ok=True)
        write_list(real / self.name, lists / f"{self.name}.csv")
        prepare(lists / f"{self.name}.csv", folder, real / self.name, backbone)

    def folder(self, work: Path, part: int, backbone: str) -> Path:
        """See `Data`."""
        return work / "stores" / f"{self.name}-{SHARED.get(backbone, backbone)}"

    def view(self, store: Store, part: int, num_shots: int | None = None) -> Store:
        """See `Data`."""
        clips = store.table.clips
        other = [clip for clip in clips if clip.split not in SPLITS]
        if other:
            raise InputError(
                "bad-value",
                f"store {store.folder} has {len(other)} clips of other splits than "
                f"{' and '.join(SPLITS)}, for example {other[0].id}: prepare it from `write_list`",
            )
        fold = folds(clips, NUM_FOLDS)[part]
        split_of = dict.fromkeys(fold.train, "train") | dict.fromkeys(fold.test, "test")
        return with_splits(store, split_of, num_shots)


@dataclass(frozen=True)
class TestClips(Data):
    """The test clips of a set; training and validation clips are trained on.

    Attributes:
        name: One of `REAL_SETS` and ``-test``.
    """

    name: str

    @property
    def num_parts(self) -> int:
        """See `Data`."""
        return 1

    @property
    def dataset(self) -> str:
        """The set."""
        return self.name.removesuffix("-test")

    def prepare(self, work: Path, real: Path, backbone: str) -> None:
        """See `Data`."""
        folder = self.folder(work, 0, backbone)
        if not is_prepared(folder, backbone):
            prepare(real / self.dataset / "clips.csv", folder, real / self.dataset, backbone)

    def folder(self, work: Path, part: int, backbone: str) -> Path:
        """See `Data`."""
        return work / "stores" / f"{self.name}-{SHARED.get(backbone, backbone)}"

    def view(self, store: Store, part: int, num_shots: int | None = None) -> Store:
        """See `Data`."""
        splits = enumerate(clip.split for clip in store.table.clips)
        split_of = {row: "test" if split == "test" else "train" for row, split in splits}
        return with_splits(store, split_of, num_shots)


@dataclass(frozen=True)
class Worlds(Data):
    """Synthetic datasets of one variant.

    Attributes:
        name: ``worlds``, or ``worlds-`` and the variant; ``world7`` for the first one alone, and
            ``world1`` for the one on which options are tuned.
        worlds: Numbers of the datasets.
    """

    name: str
    worlds: tuple[int, ...] = WORLDS

    @property
    def num_parts(self) -> int:
        """See `Data`."""
        return len(self.worlds)

    @property
    def variant(self) -> str:
        """Variant of the generator."""
        return self.name.partition("-")[2] or "plain"

    def prepare(self, work: Path, real: Path, backbone: str) -> None:
        """See `Data`."""
        for part, world in enumerate(self.worlds):
            if is_prepared(self.folder(work, part, backbone), backbone):
                continue
            counts = vars(WORLD_CLIPS).copy()
            if self.variant == "longtail":
                counts["train"] = LARGEST_CLASS
            if world == TUNING_WORLD:
                counts["test"] = TUNING_TEST_CLIPS
            make_store(
                work / "stores",
                world,
                argparse.Namespace(
                    **counts,
                    variant=self.variant,
                    backbones=BACKBONES[backbone],
                    suffix=_suffix(backbone),
                ),
            )

    def folder(self, work: Path, part: int, backbone: str) -> Path:
        """See `Data`."""
        name = store_name(self.worlds[part], self.variant, WORLD_CLIPS.classes)
        return work / "stores" / (name + _suffix(backbone))

    def view(self, store: Store, part: int, num_shots: int | None = None) -> Store:
        """See `Data`."""
        if num_shots is None:
            return store
        split_of = {row: clip.split for row, clip in enumerate(store.table.clips)}
        return with_splits(store, split_of, num_shots)


def _suffix(backbone: str) -> str:
    """End of the names of stores of a pair of encoders, which has its own frames and audio."""
    shared = SHARED.get(backbone, backbone)
    return "" if shared == "lite0+sfx" else f"-{shared}"


@functools.cache
def data_of(dataset: str) -> Data:
    """The data with a name.

    Raises:
        InputError: If there is none.
    """
    if dataset in REAL_SETS:
        return Folds(dataset)
    if dataset.removesuffix("-test") in REAL_SETS:
        return TestClips(dataset)
    kind = dataset.partition("-")[0]
    worlds = {"worlds": WORLDS} | {f"world{n}": (n,) for n in (WORLDS[0], TUNING_WORLD)}
    if kind in worlds:
        return Worlds(dataset, worlds[kind])
    raise one_of(dataset, [*REAL_SETS, "worlds", "worlds-clutter"], "data")
