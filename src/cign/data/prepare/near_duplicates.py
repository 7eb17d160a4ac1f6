"""Find near duplicates by audio: re-encoded, louder or shifted copies of one recording.

The audio fingerprint follows Haitsma and Kalker (ISMIR 2002). Each bit states whether the energy
difference of two neighbouring frequency bands increases from one time step to the next. The word
of 32 such bits per time step is robust to compression and changes of volume. Two clips that share
words at one time shift are compared bit by bit at that shift. Windows, rates and thresholds are
our own choice.
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
_QUIET_DB = -60.0  # relative to full scale; time steps below it are ignored
_MIN_OVERLAP_S = 0.75
_MAX_BIT_ERRORS = 0.2  # unrelated audio differs in half of the bits
_NUM_WEAK = 3
NUM_WORDS = 1 + _NUM_WEAK  # per time step
_MIN_SHARED = 2  # minimum of equal words at one shift before two clips are compared
_MAX_COPIES = 16  # maximum of occurrences of one word that are compared

Words = NDArray[np.uint32]


@dataclass(frozen=True)
class NearDuplicate:
    """Two clips with nearly the same audio.

    Attributes:
        first: Index of the first clip.
        second: Index of the second clip, larger than ``first``.
        shift_s: Delay of the audio in the second clip's window relative to the first, in seconds.
        bit_errors: Share of bits that differ in the overlap, in [0, 1].
    """

    first: int
    second: int
    shift_s: float
    bit_errors: float


def sound_words(samples: NDArray[np.int16], rate_hz: int) -> tuple[Words, NDArray[np.bool_]]:
    """Compute the fingerprint words of an audio signal.

    Args:
        samples: int16 [L].
        rate_hz: Samples per second.

    Returns:
        Words, uint32 [T, 1 + 3]: one word per 32 ms, followed by its three variants, each with
        one of the three weakest bits flipped. Mask of the time steps that are not silent,
        bool [T].
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
    # The bits with the smallest margin are the most likely to flip in a copy.
    weakest = np.abs(slope[1:] - slope[:-1]).argsort(axis=1)[:, :_NUM_WEAK].astype(np.uint32)
    words = np.concatenate([words, words ^ (np.uint32(1) << weakest)], axis=1)
    level = 10 * np.log10((x**2).mean(axis=1) + 1e-12)
    return words, (level[1:] > _QUIET_DB) & (level[:-1] > _QUIET_DB)


def near_duplicates(
    words: Sequence[Words], loud: Sequence[NDArray[np.bool_]], groups: Sequence[int]
) -> list[NearDuplicate]:
    """Find pairs of clips of different groups with nearly the same audio.

    Args:
        words: Words of each clip, see `sound_words`.
        loud: Mask of the time steps of each clip that are not silent.
        groups: Group number of each clip; clips of the same group are not compared.

    Returns:
        The pairs, each with its best shift, in the order of the clips.
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
    """Find near duplicates among clips of different splits; return them as plain values.

    Args:
        clips: The list of clips.
        listened: For each clip with audio, its position in the list, its words and the mask of
            its time steps that are not silent, see `sound_words`.

    Returns:
        ``clip, split, other, other_split, shift_s, bit_errors`` of each pair.
    """
    rows, words, loud = [], [], []
    for row, clip_words, clip_loud in listened:
        rows.append(row)
        words.append(clip_words)
        loud.append(clip_loud)
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
    """Return pairs of clips of two groups, with the shifts at which they share words."""
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
    """Return the share of differing bits in the overlap; None if the overlap is too short."""
    begin, end = max(0, -shift), min(len(first), len(second) - shift)
    if end <= begin:
        return None
    both = first_loud[begin:end] & second_loud[begin + shift : end + shift]
    if both.sum() * _HOP_S < _MIN_OVERLAP_S:
        return None
    errors = np.bitwise_count(first[begin:end, 0] ^ second[begin + shift : end + shift, 0])
    return float(errors[both].sum() / (_BITS * both.sum()))
