"""The clips of a store that a model is evaluated on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from cign.data.batches import ArraySource
from cign.data.clips import Clip
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
        clips: All clips of the store.
        source: Reads them as inputs of the model.
        candidates: Indices of the clips that training uses by default, of those with
            --allow-missing, and perhaps of those whose content the model has recorded.
        where: Name of the store, for error messages.
    """

    clips: Sequence[Clip]
    source: ArraySource
    candidates: tuple[IntArray, ...]
    where: str

    @classmethod
    def open(cls, model: Model, store: Store, *, by_content: bool = False) -> Self:
        """Open the training clips of a store.

        Args:
            model: The model.
            store: The store.
            by_content: Whether clips that the model has recorded are candidates whatever their
                splits, which differ after additions without splits and after clips were forgotten.

        Raises:
            InputError: If the store does not suit the model.
        """
        return cls(
            clips=store.table.clips,
            source=model_source(model, store),
            candidates=(
                training_clips(store),
                training_clips(store, allow_missing=True),
                *([_recorded(model, store)] if by_content else []),
            ),
            where=f"store {store.folder}",
        )


@dataclass(frozen=True, kw_only=True)
class ClipsToLabel:
    """Clips of a store that may be labelled; their labels are ignored.

    Attributes:
        clips: All clips of the store.
        source: Reads them as inputs of the model.
        indices: Indices of those of split train, ascending.
        hashes: SHA-256 of their decoded content, uint8, shape [n, 32].
        where: Name of the store, for error messages.
    """

    clips: Sequence[Clip]
    source: ArraySource
    indices: IntArray
    hashes: HashArray
    where: str

    @classmethod
    def open(cls, model: Model, place: Store | Path | str) -> Self:
        """Open the clips of a store.

        Args:
            model: The model.
            place: The store or its folder.

        Raises:
            InputError: If the store does not suit the model.
        """
        store = place if isinstance(place, Store) else Store.open(Path(place))
        indices = training_clips(store, allow_missing=True)
        return cls(
            clips=store.table.clips,
            source=model_source(model, store),
            indices=indices,
            hashes=store.content_hashes[indices],
            where=f"store {store.folder}",
        )


def _recorded(model: Model, store: Store) -> IntArray:
    """The first clip of each content that the model has recorded; none without records."""
    sums = sums_of_views(model.method)
    if sums is None:
        return np.zeros(0, dtype=np.int64)
    recorded = np.flatnonzero(sums.records.contain(store.content_hashes))
    _, first = np.unique(store.content_hashes[recorded], axis=0, return_index=True)
    return np.sort(recorded[first])


def model_source(model: Model, store: Store) -> ArraySource:
    """Clip source of a store for a model.

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
    return token_source(store, model.backbone)[0]
