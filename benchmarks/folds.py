"""Cross-validation folds by source, over the training and validation clips of a set.

A source is one recording, pitch or speaker. The sources of a mixture are joined by `` + ``.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from cign.data.clips import Clip
from cign.errors import InputError

NUM_FOLDS = 5
SPLITS = ("train", "val")


@dataclass(frozen=True, kw_only=True)
class Fold:
    """Indices of clips, ascending.

    Attributes:
        train: Clips without a source of the fold.
        test: Clips whose sources are all of the fold.
    """

    train: tuple[int, ...]
    test: tuple[int, ...]


def sources_of(clip: Clip) -> tuple[str, ...]:
    """Return the sources of a clip."""
    return tuple(clip.source.split(" + "))


def folds(clips: Sequence[Clip], num_folds: int = NUM_FOLDS) -> list[Fold]:
    """Divide training and validation clips into folds by source.

    A clip with sources in two folds is in neither's training nor test clips, so the test clips of
    all folds together are all clips only where each clip has one source. A class with fewer sources
    than folds has no test clip in some folds.

    Args:
        clips: All clips of a set; those of the test split are not used.
        num_folds: Number of folds.

    Raises:
        InputError: If there are fewer than two folds, or fewer sources than folds.
    """
    used = [index for index, clip in enumerate(clips) if clip.split in SPLITS]
    fold_of = assign([clips[index] for index in used], num_folds)
    among = {index: {fold_of[source] for source in sources_of(clips[index])} for index in used}
    return [
        Fold(
            train=tuple(index for index in used if fold not in among[index]),
            test=tuple(index for index in used if among[index] == {fold}),
        )
        for fold in range(num_folds)
    ]


def assign(clips: Sequence[Clip], num_folds: int) -> dict[str, int]:
    """Assign each source to a fold, with similar numbers of clips of each class per fold.

    Sources with the most clips are assigned first, those with equally many by a hash of the name,
    each to the fold with the fewest clips of the source's classes, and of these to the smallest.
    """
    if num_folds < 2:
        raise InputError("bad-value", f"num_folds is {num_folds}: use 2 or more")
    labels_of: dict[str, Counter[str]] = defaultdict(Counter)
    for clip in clips:
        sources = sources_of(clip)
        # The label of each source is known only if there are as many as labels, in the same order.
        paired = len(sources) == len(clip.labels) and len(sources) > 1
        for number, source in enumerate(sources):
            labels_of[source].update([clip.labels[number]] if paired else clip.labels)
    if len(labels_of) < num_folds:
        raise InputError("bad-value", f"{len(labels_of)} sources are too few for {num_folds} folds")
    counts = [Counter[str]() for _ in range(num_folds)]
    fold_of = {}
    for source in sorted(labels_of, key=lambda name: (-labels_of[name].total(), _hash(name))):
        own = labels_of[source]
        fold = min(
            range(num_folds),
            key=lambda k: (sum(counts[k][label] for label in own), counts[k].total(), k),
        )
        fold_of[source] = fold
        counts[fold].update(own)
    return fold_of


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()
