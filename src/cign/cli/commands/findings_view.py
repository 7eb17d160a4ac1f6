"""Problems of a source or a store as text: most severe first, a few lines each."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cign.data.prepare.findings import COUNTED_ONLY, Problem, classes_without
from cign.utils.terminal import say
from cign.utils.wording import listed

_MAX_CLIPS = 5
_MAX_REMARKS = 3
_MAX_CLASSES = 8
_MAX_DETAILS = 3
_WIDTH = 80
_SPLIT_NAMES = {"train": "training", "val": "validation", "test": "test"}
_WITHOUT = {
    "train": "cannot be learned",
    "val": "are ignored when the unknown threshold is set",
    "test": "get no accuracy",
}
_WITHOUT_ALL = {
    "train": "no model can be trained",
    "val": "the model will have no unknown threshold",
    "test": "no accuracy can be measured",
}


def show_severe(
    problems: Sequence[Problem],
    shared_sources: Sequence[Mapping[str, Any]],
    counts: Mapping[str, Mapping[str, int]],
    class_names: Sequence[str],
    *,
    num_listed: int,
) -> None:
    """Show problems that invalidate results: lost clips, leaks, classes without clips.

    Args:
        problems: Problems of the clips.
        shared_sources: See `cign.data.prepare.findings.shared_sources`.
        counts: Clips per split and class.
        class_names: The classes to learn.
        num_listed: Number of clips in the list.
    """
    lost = [problem for problem in problems if problem.severity == 0]
    if lost:
        number = len({problem.clip for problem in lost})
        say(f"\nleft out: {number} of {num_listed} clips")
        _show_groups(lost, _MAX_CLIPS)
    leaks = [problem for problem in problems if problem.severity == 1]
    if leaks:
        have = "clip has" if len(leaks) == 1 else "clips have"
        say(f"\nwarning: {len(leaks)} {have} the same content as one in another split")
        _show_clips((f"{p.clip} ({p.split}): {p.detail}" for p in leaks), _MAX_CLIPS)
    if shared_sources:
        say()
    for pair in shared_sources:
        say(
            f"{pair['num_clips']} {pair['split']} clips share a recording with {pair['other']} "
            f"({pair['num_sources']} recordings)"
        )
    for number, line in enumerate(_without(counts, class_names)):
        say(("\n" if number == 0 else "") + _wrapped(line))


def show_remarks(problems: Sequence[Problem], conditions: Mapping[str, int]) -> None:
    """Show remarks on clips that are used, and count harmless conditions."""
    remarks = [problem for problem in problems if problem.severity == 2]
    repeated = [problem for problem in remarks if problem.condition == "short"]
    remarks = [problem for problem in remarks if problem.condition != "short"]
    if remarks:
        number = len({problem.clip for problem in remarks})
        say(f"\nused, but suspicious: {number} {'clip' if number == 1 else 'clips'}")
        _show_groups(remarks, _MAX_REMARKS)
    harmless = [f"{conditions[name]} {name}" for name in COUNTED_ONLY if conditions.get(name)]
    if repeated:
        harmless.insert(0, f"{len(repeated)} shorter than the window")
    if harmless:
        say("\n" + _wrapped(f"harmless: {', '.join(harmless)}"))


def has_leaks(problems: Sequence[Problem], shared_sources: Sequence[Mapping[str, Any]]) -> bool:
    """Whether splits are known to overlap."""
    return bool(shared_sources) or any(problem.severity == 1 for problem in problems)


def _without(counts: Mapping[str, Mapping[str, int]], class_names: Sequence[str]) -> Iterable[str]:
    """One line for each split that lacks clips of some classes."""
    for split in ("test", "train", "val"):
        lost = classes_without(split, counts, class_names)
        name = _SPLIT_NAMES[split]
        if lost and len(lost) == len(class_names):
            yield f"no {name} clip at all: {_WITHOUT_ALL[split]}"
        elif lost:
            yield (
                f"{len(lost)} of {len(class_names)} classes have no {name} clip and "
                f"{_WITHOUT[split]}: {listed(lost, _MAX_CLASSES)}"
            )


def _wrapped(line: str) -> str:
    """Wrap a line at 80 characters."""
    how: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}
    return textwrap.fill(line, _WIDTH, subsequent_indent="  ", **how)


def _show_groups(problems: Sequence[Problem], most: int) -> None:
    """Show the clips of each condition; few distinct details are shown once per group."""
    details: dict[str, set[str]] = {}
    for problem in problems:
        details.setdefault(problem.condition, set()).add(problem.detail)
    groups: dict[tuple[str, str], list[Problem]] = {}
    for problem in problems:
        few = len(details[problem.condition]) <= _MAX_DETAILS
        key = (problem.condition, f": {problem.detail}" if few else "")
        groups.setdefault(key, []).append(problem)
    totals = Counter(problem.condition for problem in problems)
    order = sorted(groups, key=lambda key: (-totals[key[0]], key[0], -len(groups[key])))
    for condition, detail in order:
        group = groups[condition, detail]
        say(f"  {condition} ({len(group)}){detail}")
        _show_clips((p.clip if detail else f"{p.clip} ({p.detail})" for p in group), most)


def _show_clips(lines: Iterable[str], most: int) -> None:
    lines = list(lines)
    for line in lines[:most]:
        say(f"    {line}")
    if len(lines) > most:
        say(f"    ... and {len(lines) - most} more")
