"""Clips that sound nearly alike: re-encoded, louder or shifted copies of one recording.

Sound is told by bits, after Haitsma and Kalker (ISMIR 2002): whether the difference of the
energies of two neighbouring bands grows from one moment to the next. A word of 32 such bits for
each moment survives compression and changes of volume; two clips that share words at one distance
in time are compared bit by bit there. Windows, rates and limits are ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from cign.data.clips import Clip
from cign.vocabulary import SPLITS

_BITS = 32
_WINDOW_S, _HOP_S = 0.256, 0.032
_LOW_HZ, _HIGH_HZ = 300.0, 3000.0
_QUIET_DB = -60.0  # against full scale; moments below it say nothing
_MIN_OVERLAP_S = 0.75
_MAX_BIT_ERRORS = 0.2  # unrelated sounds differ in half of the bits
_NUM_WEAK = 3
NUM_WORDS = 1 + _NUM_WEAK  # of each moment
_MIN_SHARED = 2  # equal words at one distance before two clips are compared
_MAX_COPIES = 16  # of one word that are looked at

Words = NDArray[np.uint32]


@dataclass(frozen=True)
class NearDuplicate:
    """Two clips that sound nearly alike.

    Attributes:
        first: Index of one.
        second: Index of the other, the larger one.
        shift_s: By how much the second's sound comes later in its window, in seconds.
        bit_errors: Share of bits that differ where they overlap, 0..1.
    """

    first: int
    second: int
    shift_s: float
    bit_errors: float


def sound_words(samples: NDArray[np.int16], rate_hz: int) -> tuple[Words, NDArray[np.bool_]]:
    """The words of a sound.

    Args:
        samples: int16 [L].
        rate_hz: Samples per second.

    Returns:
        Words, uint32 [T, 1 + 3], one for every 32 ms, followed by what they would be with one of
        their three weakest bits turned; and which of them are not of silence, bool [T].
    """
    window, hop = round(_WINDOW_S * rate_hz), round(_HOP_S * rate_hz)
    if len(samples) < window + hop:
        return np.zeros((0, NUM_WORDS), np.uint32), np.zeros(0, bool)
    frames = np.lib.stride_tricks.sliding_window_view(samples, window)[::hop]
    x = frames * (np.hanning(window) / 32768.0).astype(np.float32)
    power = np.abs(scipy.fft.rfft(x, axis=1)) ** 2
    edges_hz = np.geomspace(_LOW_HZ, min(_HIGH_HZ, 0.45 * rate_hz), _BITS + 2)
    edges = np.round(edges_hz * window / rate_hz).astype(int)
    sums = np.concatenate([np.zeros((len(power), 1)), power.cumsum(axis=1)], axis=1)
    bands = sums[:, edges[1:]] - sums[:, edges[:-1]]  # [T + 1, 33]
    slope = bands[:, :-1] - bands[:, 1:]
    grows = slope[1:] > slope[:-1]
    packed = np.ascontiguousarray(np.packbits(grows, axis=1, bitorder="little"))
    words = packed.view("<u4").astype(np.uint32)  # [T, 1]
    # The bits that were decided most narrowly are those that a copy gets wrong.
    weakest = np.abs(slope[1:] - slope[:-1]).argsort(axis=1)[:, :_NUM_WEAK].astype(np.uint32)
    words = np.concatenate([words, words ^ (np.uint32(1) << weakest)], axis=1)
    level = 10 * np.log10((x**2).mean(axis=1) + 1e-12)
    return words, (level[1:] > _QUIET_DB) & (level[:-1] > _QUIET_DB)


def near_duplicates(
    words: Sequence[Words], loud: Sequence[NDArray[np.bool_]], groups: Sequence[int]
) -> list[NearDuplicate]:
    """Pairs of clips of different groups that sound nearly alike.

    Args:
        words: Of each clip, see `sound_words`.
        loud: Which of them count.
        groups: A number for each clip; clips of one group are not compared.

    Returns:
        The pairs, the best shift of each, in the order of the clips.
    """
    found: dict[tuple[int, int], NearDuplicate] = {}
    for first, second, shift in _candidates(words, loud, np.asarray(groups)):
        overlap = _overlap(words[first], loud[first], words[second], loud[second], shift)
        if overlap is None or overlap > _MAX_BIT_ERRORS:
            continue
        pair = NearDuplicate(first, second, round(shift * _HOP_S, 3), round(overlap, 4))
        other = found.get((first, second))
        if other is None or pair.bit_errors < other.bit_errors:
            found[first, second] = pair
    return [found[key] for key in sorted(found)]


def across_splits(
    clips: Sequence[Clip], listened: Iterable[tuple[int, Words, NDArray[np.bool_]]]
) -> tuple[dict[str, Any], ...]:
    """Near duplicates among clips of different splits, as plain values.

    Args:
        clips: The list.
        listened: Position in it, words and which of them count, of the clips that have sound.

    Returns:
        ``clip, split, other, other_split, shift_s, bit_errors`` of each pair.
    """
    rows, words, loud = [], [], []
    for row, found, counting in listened:
        rows.append(row)
        words.append(found)
        loud.append(counting)
    groups = [SPLITS.index(clips[row].split) for row in rows]
    pairs = []
    for pair in near_duplicates(words, loud, groups):
        first, second = clips[rows[pair.first]], clips[rows[pair.second]]
        pairs.append(
            {
                "clip": second.id,
                "split": second.split,
                "other": first.id,
                "other_split": first.split,
                "shift_s": pair.shift_s,
                "bit_errors": pair.bit_errors,
            }
        )
    return tuple(pairs)


def _candidates(
    words: Sequence[Words], loud: Sequence[NDArray[np.bool_]], groups: NDArray[np.int64]
) -> list[tuple[int, int, int]]:
    """Pairs and shifts at which clips of two groups share words."""
    lengths = [NUM_WORDS * int(mask.sum()) for mask in loud]
    if not sum(lengths):
        return []
    clip = np.repeat(np.arange(len(words), dtype=np.int64), lengths)
    word = np.concatenate([w[mask].ravel() for w, mask in zip(words, loud, strict=True)])
    time = np.concatenate([np.flatnonzero(mask).repeat(NUM_WORDS) for mask in loud])
    order = np.lexsort((clip, word))
    clip, word, time = clip[order], word[order], time[order]
    shared: list[NDArray[np.int64]] = []
    for lag in range(1, _MAX_COPIES):
        equal = (word[lag:] == word[:-lag]) & (groups[clip[lag:]] != groups[clip[:-lag]])
        at = np.flatnonzero(equal)
        shift = time[at + lag] - time[at]
        shared.append(np.stack([clip[at], clip[at + lag], shift], axis=1))
    rows, counts = np.unique(np.concatenate(shared), axis=0, return_counts=True)
    return [(int(a), int(b), int(s)) for a, b, s in rows[counts >= _MIN_SHARED]]


def _overlap(
    first: Words,
    first_loud: NDArray[np.bool_],
    second: Words,
    second_loud: NDArray[np.bool_],
    shift: int,
) -> float | None:
    """Share of bits that differ where two clips overlap; nothing if they hardly do."""
    begin, end = max(0, -shift), min(len(first), len(second) - shift)
    if end <= begin:
        return None
    both = first_loud[begin:end] & second_loud[begin + shift : end + shift]
    if both.sum() * _HOP_S < _MIN_OVERLAP_S:
        return None
    errors = np.bitwise_count(first[begin:end, 0] ^ second[begin + shift : end + shift, 0])
    return float(errors[both].sum() / (_BITS * both.sum()))
