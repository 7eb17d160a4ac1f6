"""Corrected splits: no recording occurs in two splits, and every class has the same shares.

The published splits of several benchmarks contain wrong labels, and test clips cut from the same
recordings as training clips. Published and corrected splits are both available by name. The
definition of a corrected split is our own choice.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from cign.data.clips import Clip
from cign.data.formats.listing import Listing
from cign.errors import InputError, one_of

SPLIT_KINDS = ("historical", "corrected")
SHARES = {"train": 0.8, "val": 0.1, "test": 0.1}

# Weights of a recording: its number of clips of each class.
_Weights = Mapping[str, int]


def choose_split(listing: Listing, kind: str | None, what: str) -> Listing:
    """Apply one kind of splits to a source.

    Args:
        listing: The listing of its reader.
        kind: One of `SPLIT_KINDS`; if absent, the published splits if there are any.
        what: The source, for error messages.

    Raises:
        InputError: For an unknown kind, or for published splits of a source without splits.
    """
    if kind is not None and kind not in SPLIT_KINDS:
        raise one_of(kind, SPLIT_KINDS, "split")
    if kind == "historical" and not listing.has_splits:
        raise InputError(
            "missing-option", f"{what} has no splits: use --split corrected, which makes them"
        )
    if kind == "corrected" or not listing.has_splits:
        return corrected(listing)
    return listing


def corrected(listing: Listing) -> Listing:
    """Correct the labels, and split the recordings 80 / 10 / 10 % within each class.

    Clips of split ``unknown`` are not changed. The result depends only on the ids, labels and
    recordings, not on the order of the list.
    """
    known = [
        replace(clip, labels=listing.true_labels[clip.id])
        if clip.id in listing.true_labels
        else clip
        for clip in listing.clips
        if clip.split != "unknown" and clip.id not in listing.ambiguous
    ]
    notes = list(listing.notes)
    if listing.true_labels:
        notes.append(f"{len(listing.true_labels)} labels were corrected by the full list")
    if listing.ambiguous:
        notes.append(
            f"{len(listing.ambiguous)} clips of recordings with several classes were left out"
        )
    if listing.keep_test:
        tested = {clip.source for clip in known if clip.split == "test"}
        rest = [clip for clip in known if clip.source not in tested]
        test_clips = [clip for clip in known if clip.split == "test"]
        split_of = dict.fromkeys(tested, "test") | divide_sources(rest, {"train": 0.9, "val": 0.1})
        notes.append(
            "corrected splits: the test clips unchanged, a tenth of the rest for validation; "
            f"{len(known) - len(rest) - len(test_clips)} training clips share a recording with "
            "test and were left out"
        )
        known = [*rest, *test_clips]
    else:
        split_of = divide_sources(known, SHARES)
        notes.append("corrected splits: 80 / 10 / 10 % of each class, no recording in two splits")
    divided = {
        clip.id: clip if clip.split == split else replace(clip, split=split)
        for clip in known
        for split in (split_of[clip.source],)
    }
    # Unknown clips stay in their position, to preserve the order of the list.
    clips = tuple(
        divided.get(clip.id, clip)
        for clip in listing.clips
        if clip.id in divided or clip.split == "unknown"
    )
    order = listing.class_order or tuple(
        dict.fromkeys(name for clip in listing.clips for name in clip.labels)
    )
    return replace(listing, clips=clips, notes=tuple(notes), class_order=order, has_splits=True)


def divide_sources(clips: Iterable[Clip], shares: Mapping[str, float]) -> dict[str, str]:
    """Split recordings so that every class has about the same share of its clips in each split.

    Recordings are assigned one by one: those of several classes first, then those with more
    clips, then by a hash of the name. Each is assigned to the split where the largest part of its
    classes' share is still missing. Recordings of one clip come last and make the shares exact.

    Every class has clips in the first split.

    Args:
        clips: The clips; their own splits are ignored.
        shares: Share of each split, in [0, 1]; the first split takes recordings that fit in no
            other.

    Returns:
        The split of each recording.
    """
    weights: dict[str, dict[str, int]] = defaultdict(dict)
    totals: Counter[str] = Counter()
    for clip in clips:
        weight = weights[clip.source]
        for name in clip.labels or ("",):  # background is divided like a class
            weight[name] = weight.get(name, 0) + 1
            totals[name] += 1
    target = {
        split: {name: int(share * total + 0.5) for name, total in totals.items()}
        for split, share in shares.items()
    }
    first = next(iter(shares))
    for name, total in totals.items():
        target[first][name] = total - sum(target[s][name] for s in shares if s != first)
    have: dict[str, Counter[str]] = {split: Counter() for split in shares}
    split_of: dict[str, str] = {}
    order = sorted(weights, key=lambda source: _sort_key(source, weights[source]))
    for source in order:
        weight = weights[source]
        fitting = [s for s in shares if s == first or _fits(weight, have[s], target[s])]
        split_of[source] = max(fitting, key=lambda s: _need(weight, have[s], target[s]))
        for name, count in weight.items():
            have[split_of[source]][name] += count
    _fill_empty(split_of, weights, have, list(shares), order)
    _fill_first(split_of, weights, have, first, order)
    return split_of


def _fill_first(
    split_of: dict[str, str],
    weights: Mapping[str, _Weights],
    have: Mapping[str, Counter[str]],
    first: str,
    order: Sequence[str],
) -> None:
    """Move the smallest recording of each class that has none in the first split there.

    This happens where few recordings hold several classes each.
    """
    for source in reversed(order):
        if any(not have[first][name] for name in weights[source]):
            have[split_of[source]].subtract(weights[source])
            split_of[source] = first
            have[first].update(weights[source])


def _fill_empty(
    split_of: dict[str, str],
    weights: Mapping[str, _Weights],
    have: Mapping[str, Counter[str]],
    splits: Sequence[str],
    order: Sequence[str],
) -> None:
    """Move one recording of small classes to each empty split, last split first, if possible."""
    first = splits[0]
    empty = [n for s in splits[1:] for n in dict.fromkeys(have[first]) if not have[s][n]]
    of_class: dict[str, list[str]] = {name: [] for name in empty}
    for source in order:
        (name, *others) = weights[source]
        if not others and name in of_class and split_of[source] == first:
            of_class[name].append(source)
    for split in reversed(splits[1:]):
        for name, sources in of_class.items():
            if not have[split][name] and len(sources) > 1:
                source = sources.pop()  # the smallest
                split_of[source] = split
                have[split].update(weights[source])


def _sort_key(source: str, weight: _Weights) -> tuple[int, int, bytes]:
    digest = hashlib.sha256(source.encode()).digest()
    return -len(weight), -sum(weight.values()), digest


def _fits(weight: _Weights, have: _Weights, target: _Weights) -> bool:
    """Return whether a split with the recording exceeds its target number for no class."""
    return all(have[name] + count <= target[name] for name, count in weight.items())


def _need(weight: _Weights, have: _Weights, target: _Weights) -> float:
    """Return the missing share of a split's target, averaged over the recording's clips."""
    if len(weight) == 1:
        (name,) = weight
        return (target[name] - have[name]) / max(target[name], 1)
    missing = sum(
        count * (target[name] - have[name]) / max(target[name], 1) for name, count in weight.items()
    )
    return missing / sum(weight.values())
