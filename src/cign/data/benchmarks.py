"""The field's benchmarks by name: which list, which classes, which tasks, what memory.

Each is a YAML file in ``cign/recipes/benchmarks`` with the source of every figure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from cign.data.clips import ClipTable
from cign.data.formats import read_source
from cign.data.tasks import TaskSequence, split_into_tasks
from cign.errors import InputError, one_of

BENCHMARKS = (
    *("vggsound-instruments", "vggsound-100", "vgg-sound-sources", "ave"),
    "kinetics-sounds",
)


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A benchmark.

    Attributes:
        name: As on the command line.
        format: Of its lists, see `cign.data.formats`.
        split: Which splits are used by default.
        num_classes: How many classes it has.
        tasks: For each number of tasks it is run with, the memory by default; the first number is
            the default one.
        keeps_groups: Whether its tasks are published groups: a class order permutes them as wholes.
        leave_out: ``fewest-test`` leaves out the class with the fewest test clips, of several the
            first in the alphabet.
        preset: Extraction where no backbone says otherwise.
        sources: Where each figure comes from; for readers.
    """

    name: str
    format: str
    split: str
    num_classes: int
    tasks: dict[int, str]
    keeps_groups: bool = False
    leave_out: str | None = None
    preset: str = "release"
    sources: dict[str, str] = field(default_factory=dict)

    def select(self, table: ClipTable) -> ClipTable:
        """A source's clips of the benchmark's classes.

        Raises:
            InputError: If the source has another number of classes than the benchmark.
        """
        names = table.class_names
        notes: tuple[str, ...] = ()
        if self.leave_out == "fewest-test" and len(names) == self.num_classes + 1:
            tested = Counter(n for c in table.clips if c.split == "test" for n in c.labels)
            out = min(names, key=lambda name: (tested[name], name))
            names = tuple(name for name in names if name != out)
            clips = tuple(clip for clip in table.clips if out not in clip.labels)
            notes = (
                f"benchmark {self.name} leaves out class {out!r}, which has the fewest test clips "
                f"({tested[out]})",
            )
            table = replace(table, clips=clips, class_names=names, notes=(*table.notes, *notes))
        self.check_classes(len(names), "the source")
        return table

    def check_classes(self, number: int, what: str) -> None:
        """Refuse another number of classes than the benchmark's.

        Raises:
            InputError: With both numbers.
        """
        if number != self.num_classes:
            raise InputError(
                f"benchmark {self.name} has {self.num_classes} classes, {what} has {number}: give "
                "its own lists (docs/formats.md), or leave --benchmark out"
            )

    def choose_tasks(self, asked: int | None) -> int:
        """The number of tasks: the one asked for, if the benchmark has it, else its first.

        Raises:
            InputError: If it has no such number.
        """
        if asked is not None and asked not in self.tasks:
            raise one_of(asked, self.tasks, f"number of tasks of benchmark {self.name}")
        return next(iter(self.tasks)) if asked is None else asked


def load_benchmark(name: str) -> Benchmark:
    """Read a benchmark by name.

    Raises:
        InputError: If there is none of the name.
    """
    if name not in BENCHMARKS:
        raise one_of(name, BENCHMARKS, "benchmark")
    file = resources.files("cign") / "recipes" / "benchmarks" / f"{name}.yaml"
    values: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return Benchmark(name=name, **values)


def published_tasks(class_names: tuple[str, ...], num_tasks: int, order: int = 0) -> TaskSequence:
    """Cut the classes into groups in the data's own order, and permute the groups alone.

    Args:
        class_names: The classes, group after group.
        num_tasks: How many groups.
        order: 0 keeps their order, k > 0 permutes them by seed k.
    """
    groups = split_into_tasks(class_names, num_tasks).groups
    numbers = [str(number) for number in range(num_tasks)]
    places = split_into_tasks(numbers, 1, order).class_order
    return TaskSequence(tuple(groups[int(place)] for place in places))


def read_benchmark(
    benchmark: Benchmark | None,
    source: Path,
    *,
    format: str | None,
    media: Sequence[Path],
    split: str | None,
    **how: Any,
) -> ClipTable:
    """Read a source, of a benchmark if one is named: its format, split and classes.

    Args:
        benchmark: Whose classes are taken, and whose format and split where none is given.
        source: See `cign.data.formats.read_source`, as for all that follows.
        format: Of the source.
        media: Where the clips lie.
        split: Which splits.
        how: Further options.

    Raises:
        InputError: If the list cannot be read, contradicts itself or is not the benchmark's.
    """
    if benchmark is None:
        return read_source(source, format=format, media=media, split=split, **how)
    format, split = format or benchmark.format, split or benchmark.split
    return benchmark.select(read_source(source, format=format, media=media, split=split, **how))
