"""Split clips that have no splits, by a hash of their names."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from cign.data.clips import Clip


def divide(clips: Sequence[Clip], shares: dict[str, float]) -> list[Clip]:
    """Move shares of the training clips of each class to other splits, by a hash.

    The clips of one source stay in the same split: the sources of a class, not its clips, are
    ranked by the hash of their path. At least one source of each class stays in train.

    Args:
        clips: Training clips; a clip of several classes is ranked with its first class, and
            background like a class.
        shares: Share of each split, in [0, 1].
    """
    sources: dict[tuple[str, ...], dict[str, None]] = defaultdict(dict)
    for clip in clips:
        sources[clip.labels[:1]][clip.source] = None
    split_of: dict[str, str] = {}
    for names in sources.values():
        # A source with clips of several classes stays in the split assigned for its first class.
        ranked = sorted((n for n in names if n not in split_of), key=_rank)
        first = 0
        for split, share in shares.items():
            count = min(int(share * len(ranked) + 0.5), max(len(ranked) - 1 - first, 0))
            split_of.update(dict.fromkeys(ranked[first : first + count], split))
            first += count
        split_of.update(dict.fromkeys(ranked[first:], "train"))
    return [replace(clip, split=split_of[clip.source]) for clip in clips]


def _rank(source: str) -> bytes:
    return hashlib.sha256(source.encode()).digest()
