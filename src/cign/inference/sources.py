"""The clips of a store that a model is evaluated on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Self

import numpy as np

from cign.data.batches import ArraySource
from cign.data.clips import Clip
from cign.data.intact import check_tokens
from cign.data.located import Located, StoreArrays
from cign.data.store import Store
from cign.data.tasks import HashArray, IntArray
from cign.errors import InputError
from cign.methods.capabilities import sums_of_views
from cign.runs.mismatches import other_media, other_tokens
from cign.runs.training_data import (
    bytes_per_clip,
    media_source,
    token_source,
    training_clips,
)
from cign.saved_model.model import Model


@dataclass(frozen=True, kw_only=True)
class TestClips:
    """Clips for an evaluation.

    Attributes:
        clips: All clips of the store.
        source: Reads them as inputs of the model.
        known: Indices of the clips of the split with a class that the model knows.
        unknown: Indices of those of the split and of split ``unknown`` with unknown classes only.
        background: Indices of those of both with none of the classes.
    """

    __test__ = False  # not a test of pytest

    clips: Sequence[Clip]
    source: ArraySource
    known: IntArray
    unknown: IntArray
    background: IntArray

    @classmethod
    def open(cls, model: Model, store: Store, split: str) -> Self:
        """Open the clips of a store.

        Raises:
            InputError: If there is no clip of a known class, or the store does not suit the model.
        """
        names, clips = set(model.classes), store.table.clips
        known = [i for i in store.indices(split) if names & set(clips[i].likely_labels)]
        if not known:
            raise InputError(
                "no-clips",
                f"store {store.folder} has no {split} clip of a class the model knows: "
                "use another store or split",
            )
        others = np.unique(np.concatenate([store.indices(split), store.indices("unknown")]))
        background = [i for i in others if clips[i].is_background]
        unknown = [i for i in others if names.isdisjoint(clips[i].labels) and clips[i].labels]
        return cls(
            clips=clips,
            source=model_source(model, store),
            known=np.array(known, dtype=np.int64),
            unknown=np.array(unknown, dtype=np.int64),
            background=np.array(background, dtype=np.int64),
        )


@dataclass(frozen=True, kw_only=True)
class LearnedClips:
    """Clips of a store that a model may have learned.

    Attributes:
        clips: All clips of the stores.
        source: Reads them as inputs of the model.
        candidates: Indices of the clips that training uses by default, of those with
            --allow-missing, and perhaps of those whose content the model has recorded.
        where: Names of the stores, for error messages.
        located: Where they are; None if they are not in stores.
    """

    clips: Sequence[Clip]
    source: ArraySource
    candidates: tuple[IntArray, ...]
    where: str
    located: Located | None = None

    @classmethod
    def open(
        cls, model: Model, *stores: Store, by_content: bool = False, check: bool = True
    ) -> Self:
        """Open the training clips of one or more stores.

        Args:
            model: The model.
            stores: The stores; their clips are numbered one store after another.
            by_content: Whether clips that the model has recorded are candidates whatever their
                splits, which differ after additions without splits and after clips were forgotten.
            check: See `joined_source`.

        Raises:
            InputError: If a store does not suit the model.
        """
        source, located = joined_source(model, stores, check=check)
        return cls(
            clips=[clip for store in stores for clip in store.table.clips],
            source=source,
            candidates=(
                numbered(stores, training_clips),
                numbered(stores, partial(training_clips, allow_missing=True)),
                *([_recorded(model, stores)] if by_content else []),
            ),
            where=names_of(stores),
            located=located,
        )


@dataclass(frozen=True, kw_only=True)
class ClipsToLabel:
    """Clips of stores that may be labelled; their labels are ignored.

    Attributes:
        clips: All clips of the stores.
        source: Reads them as inputs of the model.
        indices: Indices of those of split train, ascending.
        hashes: SHA-256 of their decoded content, uint8, shape [n, 32].
        where: Names of the stores, for error messages.
        located: Where they are; None if they are not in stores.
    """

    clips: Sequence[Clip]
    source: ArraySource
    indices: IntArray
    hashes: HashArray
    where: str
    located: Located | None = None

    @classmethod
    def open(cls, model: Model, *stores: Store, check: bool = True) -> Self:
        """Open the clips of one or more stores.

        Args:
            model: The model.
            stores: The stores; their clips are numbered one store after another.
            check: See `joined_source`.

        Raises:
            InputError: If a store does not suit the model.
        """
        source, located = joined_source(model, stores, check=check)
        indices = numbered(stores, partial(training_clips, allow_missing=True))
        return cls(
            clips=[clip for store in stores for clip in store.table.clips],
            source=source,
            indices=indices,
            hashes=np.concatenate([store.content_hashes for store in stores])[indices],
            where=names_of(stores),
            located=located,
        )


def _recorded(model: Model, stores: Sequence[Store]) -> IntArray:
    """The first clip of each content that the model has recorded; none without records."""
    sums = sums_of_views(model.method)
    if sums is None:
        return np.zeros(0, dtype=np.int64)
    hashes = np.concatenate([store.content_hashes for store in stores])
    recorded = np.flatnonzero(sums.records.contain(hashes))
    _, first = np.unique(hashes[recorded], axis=0, return_index=True)
    return np.sort(recorded[first])


def names_of(stores: Sequence[Store]) -> str:
    """Stores by name: ``store a``, ``stores a and b``, ``stores a, b and 3 others``."""
    names = [str(store.folder) for store in stores]
    if len(names) == 1:
        return f"store {names[0]}"
    if len(names) == 2:
        return f"stores {names[0]} and {names[1]}"
    others = len(names) - 2
    return f"stores {names[0]}, {names[1]} and {others} other{'s' if others > 1 else ''}"


def numbered(stores: Sequence[Store], indices: Callable[[Store], IntArray]) -> IntArray:
    """Indices of clips of each store, counted through all stores."""
    begins = np.cumsum([0, *(store.num_clips for store in stores)])
    return np.concatenate(
        [indices(store) + begin for store, begin in zip(stores, begins, strict=False)]
    )


def joined_source(
    model: Model, stores: Sequence[Store], *, check: bool = True
) -> tuple[ArraySource, Located]:
    """Clip source of stores for a model, counted through all of them, and where their clips are.

    Args:
        model: The model.
        stores: The stores.
        check: Whether to read all tokens, to compare them with their checksums.

    Raises:
        InputError: If a store does not suit the model.
    """
    sources = [model_source(model, store, check=check) for store in stores]
    backbone = model.backbone if model.regime == "frozen" else None
    located = Located.of(stores, backbone, sources[0].bytes_per_clip)
    return sources[0] if len(stores) == 1 else located.source(), located


def model_source(model: Model, store: Store, *, check: bool = True) -> ArraySource:
    """Clip source of a store for a model.

    Args:
        model: The model.
        store: The store.
        check: Whether to read all tokens, to compare them with their checksums.

    Raises:
        InputError: If the store's tokens are from another backbone than the model's, or its media
            settings differ from those of the model's encoders.
    """
    if model.regime != "frozen":
        found, spec = store.media_spec, model.media_spec
        if found != spec:
            raise other_media(model.backbone, spec, f"store {store.folder}", found)
        return media_source(store, bytes_per_clip(model.regime, model.backbone, store))
    if store.tokens(model.backbone).fingerprint != model.fingerprint:
        raise other_tokens(f"store {store.folder}", model.backbone, "the model")
    return token_source(store, model.backbone, check=check)[0]


def check_located(arrays: StoreArrays) -> None:
    """Compare the tokens of a store with their checksums.

    Raises:
        InputError: If they were changed.
        RunError: If this machine cannot read them.
    """
    arrays.map()
    assert arrays.backbone is not None
    check_tokens(Store.open(arrays.folder), arrays.backbone)
