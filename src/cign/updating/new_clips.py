"""New clips for a trained model: decoded, and encoded by its own backbone or encoders."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from cign.backbones.base import Backbone
from cign.data.batches import ArraySource
from cign.data.clips import Clip
from cign.data.intact import check_media
from cign.data.media.decode import MediaSpec
from cign.data.prepare.features import prepare_features
from cign.data.prepare.pipeline import prepare
from cign.data.store import Store
from cign.data.tasks import HashArray, IntArray
from cign.errors import InputError
from cign.inference.sources import model_source
from cign.runs.unusual_clips import check_weights
from cign.saved_model.model import Model
from cign.saved_model.validation_clips import choose_kept
from cign.training.encoding import encode_clips
from cign.updating.stated_splits import without_splits
from cign.utils.progress import Progress, Silent

Source = Store | Path | str


@dataclass(frozen=True, kw_only=True)
class NewClips:
    """Training clips and validation clips of a source.

    Attributes:
        clips: All its clips.
        hashes: SHA-256 of the decoded content of all its clips, uint8, shape [N, 32].
        list_hash: Hash of the whole list of clips.
        order: The class order of the source.
        source: Reads the tokens of the training and validation clips.
        learned: Indices of the training clips.
        validation: Indices of the clips that measure the new classes.
        kept: Those of ``validation`` that the model stores.
        notes: What was left out, and why; one sentence each.
    """

    clips: Sequence[Clip]
    hashes: HashArray
    list_hash: str
    order: tuple[str, ...]
    source: ArraySource
    learned: IntArray
    validation: IntArray
    kept: IntArray
    notes: tuple[str, ...]


def unprepared(source: Source) -> Path | None:
    """The path of a source whose clips must be decoded; None for a prepared store."""
    if isinstance(source, Store) or (Path(source) / "store.json").is_file():
        return None
    return Path(source)


def refuse_reading(store: Path, format: str | None, media: Sequence[Path]) -> None:
    """Refuse options that say how clips are decoded, for a prepared store.

    Raises:
        InputError: If one is given.
    """
    if format is not None or media:
        message = f"{store} is a prepared store: leave out --format and --media"
        raise InputError("conflicting-options", message)


@contextmanager
def opened(
    source: Source,
    backbone: Backbone | MediaSpec | str | None,
    *,
    format: str | None = None,
    media: Sequence[Path] = (),
    num_workers: int | None = None,
    progress: Progress | None = None,
) -> Iterator[tuple[Store, bool, tuple[str, ...]]]:
    """Decode a source into a temporary store, or open a prepared store.

    Args:
        source: A folder of class folders, a table, features for a model of features, or a prepared
            store.
        backbone: The model's backbone; computes the tokens if ``source`` is not a store. Its name
            for a model of features; what it takes from each clip for a model that contains its
            encoders.
        format: See `cign.data.formats.read_source`.
        media: See `cign.data.formats.read_source`.
        num_workers: See `cign.data.prepare.pipeline.prepare`.
        progress: Receives the progress of clips.

    Yields:
        The store, whether its splits were assigned by the reader and not by the user, and notes.

    Raises:
        InputError: If the source is invalid, or none of its clips can be decoded.
    """
    path = unprepared(source)
    if path is None:
        store = source if isinstance(source, Store) else Store.open(Path(source))
        refuse_reading(store.folder, format, media)
        yield store, False, ()
        return
    progress = progress or Silent()
    with tempfile.TemporaryDirectory(prefix="cign-add-") as folder:
        place = Path(folder) / "store"
        how: dict[str, Any] = {"min_classes": 1, "require_train": False, "progress": progress}
        if isinstance(backbone, str):
            report = prepare_features(path, place, encoders=backbone, media=media, **how)
        else:
            is_spec = isinstance(backbone, MediaSpec)
            makes: dict[str, Any] = {"spec" if is_spec else "backbone": backbone}
            makes |= {"format": format, "num_workers": num_workers}
            report = prepare(path, place, media=media, **makes, **how)
        progress.stop()
        notes = list(report.notes)
        lost = [problem for problem in report.problems if not problem.kept]
        if lost:
            num_lost = report.num_listed - report.num_usable
            notes.append(
                f"left out, not decoded: {num_clips(num_lost)} of {report.num_listed}, for "
                f"example {lost[0].clip} ({lost[0].condition}: {lost[0].detail})"
            )
        store = Store.open(place)
        yield store, without_splits(path, store.table.clips, format), tuple(notes)


def choose_clips(
    model: Model,
    store: Store,
    folder: Path,
    *,
    has_no_splits: bool,
    keep: bool,
    notes: Sequence[str] = (),
    progress: Progress | None = None,
) -> NewClips:
    """Choose training clips, validation clips, and the clips to store.

    Given splits are respected: train is used for training, val for validation and in part for
    storage, test and unknown are left out. Without splits, all clips are used for training except
    the few that are stored.

    Args:
        model: The model.
        store: The clips, with tokens of the model's backbone unless the model has encoders.
        folder: A temporary folder for tokens of the model's own encoders.
        has_no_splits: Whether the splits were assigned by the reader and not by the user.
        keep: Whether the model stores validation clips.
        notes: Earlier notes, to which this function appends.
        progress: Receives the progress of clips that the model's own encoders encode.

    Returns:
        The clips, with what was left out in their notes.

    Raises:
        InputError: If the store does not suit the model, or has no training clip.
    """
    check_weights(type(model.method), store.table.clips, f"store {store.folder}")
    source = model_source(model, store)
    all_notes = list(notes)
    splits = np.array([clip.split for clip in store.table.clips])
    whole = store.audio_ok & store.visual_ok
    if not whole.all():
        all_notes.append(f"left out, without audio or video: {num_clips(int((~whole).sum()))}")
    if any(change.get("list_hash") == store.list_hash for change in model.changes):
        all_notes.append(
            "a list with the same names, labels and splits was added before: clips in both lists "
            "count twice"
        )
    is_background = np.array([clip.is_background for clip in store.table.clips])
    if is_background.any() and not model.method.supports_background:
        all_notes.append(
            f"left out, because {model.method.name} does not learn background: "
            f"{num_clips(int((whole & is_background).sum()))}"
        )
        whole &= ~is_background
    have = Counter[str]() if model.kept is None else model.kept.counts()
    labels = [clip.likely_labels for clip in store.table.clips]
    validation = np.flatnonzero(whole & ~is_background & (splits == "val"))
    kept = choose_kept(labels, validation, have) if keep else validation[:0]
    learned = np.flatnonzero(whole & (splits == "train"))
    if has_no_splits:
        # Parts of the recording of a stored clip would make its accuracy too high.
        aside_sources = {store.table.clips[row].source for row in kept}
        is_aside = np.array([clip.source in aside_sources for clip in store.table.clips])
        learned = np.flatnonzero(whole & ~is_aside)
        validation = kept
        beside = int((whole & is_aside).sum()) - len(kept)
        if beside:
            all_notes.append(
                f"left out, of the same recordings as validation clips: {num_clips(beside)}"
            )
    else:
        aside = int(np.isin(splits, ("test", "unknown")).sum())
        if aside:
            all_notes.append(f"left out, of splits test and unknown: {num_clips(aside)}")
    if model.regime != "frozen":
        check_media(store)
        used = np.union1d(learned, validation)
        source = encode_clips(model.method, source, used, folder, progress)
    learned, validation, kept, num_same = _without_known(model, source, learned, validation, kept)
    if num_same:
        all_notes.append(
            f"left out, already among the model's validation clips: {num_clips(num_same)}"
        )
    if len(learned) == 0:
        why = f" ({'; '.join(all_notes)})" if all_notes else ""
        raise InputError(
            "no-clips",
            f"none of {num_clips(store.num_clips)} can be used for training{why}: give clips with "
            "audio and video that are not validation clips of the model, in class folders or in "
            "split train",
        )
    return NewClips(
        clips=store.table.clips,
        hashes=store.content_hashes,
        list_hash=store.list_hash,
        order=store.class_names,
        source=source,
        learned=learned,
        validation=validation,
        kept=kept,
        notes=tuple(all_notes),
    )


@dataclass(frozen=True, kw_only=True)
class GivenClips:
    """All clips of a source, whatever their labels and splits.

    Attributes:
        ids: Their names.
        hashes: SHA-256 of their decoded content, uint8, shape [N, 32].
        distinct: Indices of the first clip of each content, in ascending order.
        tokens: Reads the tokens of the distinct clips.
    """

    ids: Sequence[str]
    hashes: HashArray
    distinct: IntArray
    tokens: ArraySource

    @classmethod
    def of(cls, model: Model, store: Store, folder: Path, progress: Progress | None) -> Self:
        """Open the clips of a store.

        Args:
            model: The model, whose own encoders may have to encode the clips.
            store: The clips.
            folder: A temporary folder for tokens of the model's own encoders.
            progress: Receives the progress of clips that these encode.

        Raises:
            InputError: If the store does not suit the model.
        """
        _, distinct = np.unique(store.content_hashes, axis=0, return_index=True)
        distinct, tokens = np.sort(distinct), model_source(model, store)
        if model.regime != "frozen":
            check_media(store)
            tokens = encode_clips(model.method, tokens, distinct, folder, progress)
        return cls(
            ids=[clip.id for clip in store.table.clips],
            hashes=store.content_hashes,
            distinct=distinct,
            tokens=tokens,
        )


def _without_known(
    model: Model, source: ArraySource, *groups: IntArray
) -> tuple[IntArray, IntArray, IntArray, int]:
    """Leave out the model's validation clips, whatever their names; never train on them."""
    if model.kept is None:
        learned, validation, kept = groups
        return learned, validation, kept, 0
    same = {
        int(i)
        for i in np.unique(np.concatenate(groups))
        if model.kept.holds(source.audio(np.array([i]))[0], source.visual(np.array([i]))[0])
    }
    learned, validation, kept = (
        np.array([i for i in group.tolist() if i not in same], dtype=np.int64) for group in groups
    )
    return learned, validation, kept, len(same)


def num_clips(number: float) -> str:
    """A number of clips as text, for example ``1 clip``; with weights it may be ``2.5 clips``."""
    return f"{number:.6g} clip{'' if number == 1 else 's'}"
