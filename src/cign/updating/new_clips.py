"""Clips that come to a trained model: decoded and made into tokens by its own backbone."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cign.backbones.base import Backbone
from cign.data.clips import Clip
from cign.data.formats.folders import read_folders
from cign.data.intact import check_tokens
from cign.data.prepare.pipeline import prepare
from cign.data.store import Store
from cign.data.tasks import IntArray
from cign.data.tokens import TokenCache
from cign.errors import InputError
from cign.saved_model.model import Model
from cign.saved_model.validation_clips import choose_kept
from cign.utils.progress import Progress, Silent

Source = Store | Path | str


@dataclass(frozen=True, kw_only=True)
class NewClips:
    """Which clips of a store are learned, and which are only answered.

    Attributes:
        store: The clips.
        tokens: Made with the model's backbone.
        learned: Indices of those that are learned.
        validation: Those that the new classes are measured on.
        kept: Those of ``validation`` that stay with the model.
        notes: What was left out, and why; one sentence each.
    """

    store: Store
    tokens: TokenCache
    learned: IntArray
    validation: IntArray
    kept: IntArray
    notes: tuple[str, ...]

    @property
    def labels(self) -> list[tuple[str, ...]]:
        """Class names of all clips of the store."""
        return [clip.labels for clip in self.store.table.clips]

    @property
    def ids(self) -> list[str]:
        """Names of all clips of the store."""
        return [clip.id for clip in self.store.table.clips]

    @property
    def list_hash(self) -> str:
        """Hash of the whole list of clips."""
        return self.store.list_hash

    @property
    def order(self) -> tuple[str, ...]:
        """The source's own order of its classes."""
        return self.store.class_names


def is_store(source: Source) -> bool:
    """Whether clips are prepared already."""
    return isinstance(source, Store) or (Path(source) / "store.json").is_file()


@contextmanager
def opened(
    source: Source,
    backbone: Backbone | None,
    *,
    format: str | None = None,
    media: Sequence[Path] = (),
    num_workers: int | None = None,
    progress: Progress | None = None,
) -> Iterator[tuple[Store, bool, tuple[str, ...]]]:
    """Decode a source into a store that is there for a while, or open a store.

    Args:
        source: A folder of class folders, a table, or a prepared store.
        backbone: The model's; makes the tokens where ``source`` is not a store.
        format: See `cign.data.formats.read_source`.
        media: See `cign.data.formats.read_source`.
        num_workers: See `cign.data.prepare.pipeline.prepare`.
        progress: Told of every clip.

    Yields:
        The store, whether its splits are the reader's and not the user's, and notes.

    Raises:
        InputError: If the source cannot be used, or nothing in it decodes.
    """
    if isinstance(source, Store) or is_store(source):
        if format is not None or media:
            raise InputError(f"{source} is a prepared store: leave out --format and --media")
        yield (source if isinstance(source, Store) else Store.open(Path(source))), False, ()
        return
    progress = progress or Silent()
    with tempfile.TemporaryDirectory(prefix="cign-add-") as folder:
        place = Path(folder) / "store"
        report = prepare(
            Path(source),
            place,
            backbone=backbone,
            format=format,
            media=media,
            num_workers=num_workers,
            min_classes=1,
            require_train=False,
            progress=progress,
        )
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
        yield store, without_splits(Path(source), store.table.clips), tuple(notes)


def without_splits(source: Path, clips: Sequence[Clip]) -> bool:
    """Whether a source is class folders alone, so that nobody set any of its clips aside."""
    if any(clip.id.partition("/")[0] != clip.labels[0] for clip in clips):
        return False
    try:
        listed = {clip.id: clip.split for clip in read_folders(source.absolute()).clips}
    except InputError:
        return False
    return all(listed.get(clip.id) == clip.split for clip in clips)


def choose_clips(
    model: Model, store: Store, *, has_no_splits: bool, keep: bool, notes: Sequence[str] = ()
) -> NewClips:
    """Decide what is learned and what is kept.

    Given splits are taken as they are: train is learned, val is answered and some of it kept,
    test and unknown are left out. Where the source has none, all clips are learned but the few
    that are kept.

    Args:
        model: The model.
        store: The clips, with tokens of the model's backbone.
        has_no_splits: Whether the splits are the reader's and not the user's.
        keep: Whether clips are kept.
        notes: What was found before.

    Raises:
        InputError: If the store has no tokens of the model's backbone, or nothing to learn from.
    """
    tokens = store.tokens(model.backbone)
    if tokens.fingerprint != model.fingerprint:
        raise InputError(
            f"store {store.folder} holds tokens of other weights of backbone {model.backbone} "
            "than the model's: prepare it again with the model's backbone, or give the clips"
        )
    check_tokens(store, model.backbone)
    told = list(notes)
    splits = np.array([clip.split for clip in store.table.clips])
    whole = store.audio_ok & store.visual_ok
    if not whole.all():
        told.append(f"left out, without sound or picture: {num_clips(int((~whole).sum()))}")
    if any(change.get("list_hash") == store.list_hash for change in model.changes):
        told.append(
            "a list of the same names, labels and splits was added before: clips that are in both "
            "count twice"
        )
    have = Counter[str]() if model.kept is None else model.kept.counts()
    labels = [clip.labels for clip in store.table.clips]
    validation = np.flatnonzero(whole & (splits == "val"))
    kept = choose_kept(labels, validation, have) if keep else validation[:0]
    learned = np.flatnonzero(whole & (splits == "train"))
    if has_no_splits:
        learned = np.setdiff1d(np.flatnonzero(whole), kept)
        validation = kept
    else:
        aside = int(np.isin(splits, ("test", "unknown")).sum())
        if aside:
            told.append(f"left out, of splits test and unknown: {num_clips(aside)}")
    learned, validation, kept, num_same = _without_known(model, tokens, learned, validation, kept)
    if num_same:
        told.append(f"left out, kept with the model already: {num_clips(num_same)}")
    if len(learned) == 0:
        why = f" ({'; '.join(told)})" if told else ""
        raise InputError(
            f"none of {num_clips(store.num_clips)} can be learned from{why}: give clips with "
            "sound and picture that the model does not keep, in class folders or in split train"
        )
    return NewClips(
        store=store,
        tokens=tokens,
        learned=learned,
        validation=validation,
        kept=kept,
        notes=tuple(told),
    )


def _without_known(
    model: Model, tokens: TokenCache, *groups: IntArray
) -> tuple[IntArray, IntArray, IntArray, int]:
    """Leave out clips that the model keeps: they are never learned from, under any name."""
    if model.kept is None:
        learned, validation, kept = groups
        return learned, validation, kept, 0
    same = {
        int(i)
        for i in np.unique(np.concatenate(groups))
        if model.kept.holds(tokens.audio([i])[0], tokens.visual([i])[0])
    }
    learned, validation, kept = (
        np.array([i for i in group.tolist() if i not in same], dtype=np.int64) for group in groups
    )
    return learned, validation, kept, len(same)


def num_clips(number: int) -> str:
    """A number of clips, as one says it."""
    return f"{number} clip{'' if number == 1 else 's'}"
