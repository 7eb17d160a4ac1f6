"""Published benchmarks by name: lists, classes, tasks and memory budget.

Each is a YAML file in ``cign/recipes/benchmarks`` with the source of every value.
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
        name: Name on the command line.
        format: Format of its lists, see `cign.data.formats`.
        split: Default kind of splits.
        num_classes: Number of classes.
        tasks: Default memory budget for each number of tasks; the first number is the default.
        keeps_groups: Whether its tasks are published groups, so that a class order permutes whole
            groups.
        leave_out: ``fewest-test`` leaves out the class with the fewest test clips; of several such
            classes, the alphabetically first.
        preset: Decoding preset without a backbone that requires another.
        sources: Source of each value, for documentation.
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
        """Select the clips of the benchmark's classes from a source.

        Raises:
            InputError: If the source has another number of classes than the benchmark.
        """
        names = table.class_names
        notes: tuple[str, ...] = ()
        if self.leave_out == "fewest-test" and len(names) == self.num_classes + 1:
            tested = Counter(n for c in table.clips if c.split == "test" for n in c.labels)
            omitted = min(names, key=lambda name: (tested[name], name))
            names = tuple(name for name in names if name != omitted)
            clips = tuple(clip for clip in table.clips if omitted not in clip.labels)
            notes = (
                f"benchmark {self.name} leaves out class {omitted!r}, which has the fewest test "
                f"clips ({tested[omitted]})",
            )
            table = replace(table, clips=clips, class_names=names, notes=(*table.notes, *notes))
        self.check_classes(len(names), "the source")
        return table

    def check_classes(self, number: int, what: str) -> None:
        """Check that a number of classes is that of the benchmark.

        Raises:
            InputError: If the numbers differ; the message names both.
        """
        if number != self.num_classes:
            raise InputError(
                "store-mismatch",
                f"benchmark {self.name} has {self.num_classes} classes, but {what} has {number}: "
                "give the benchmark's own lists (docs/formats.md), or leave out --benchmark",
            )

    def choose_tasks(self, requested: int | None) -> int:
        """Return the requested number of tasks, or the default of the benchmark if None.

        Raises:
            InputError: If the benchmark does not define the requested number.
        """
        if requested is not None and requested not in self.tasks:
            raise one_of(requested, self.tasks, f"number of tasks of benchmark {self.name}")
        return next(iter(self.tasks)) if requested is None else requested


def load_benchmark(name: str) -> Benchmark:
    """Read a benchmark by name.

    Raises:
        InputError: If there is no benchmark of that name.
    """
    if name not in BENCHMARKS:
        raise one_of(name, BENCHMARKS, "benchmark")
    file = resources.files("cign") / "recipes" / "benchmarks" / f"{name}.yaml"
    values: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return Benchmark(name=name, **values)


def published_tasks(class_names: tuple[str, ...], num_tasks: int, order: int = 0) -> TaskSequence:
    """Split the classes into groups in the order of the data, and permute only the groups.

    Args:
        class_names: The classes, group after group.
        num_tasks: Number of groups.
        order: 0 preserves the order of the groups, k > 0 permutes them with seed k.
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
    **options: Any,
) -> ClipTable:
    """Read a source, with the format, split and classes of a benchmark if one is given.

    Args:
        benchmark: The benchmark that selects the classes; also sets format and split where they
            are not given.
        source: See `cign.data.formats.read_source`, as for all following arguments.
        format: Format of the source.
        media: Media folders.
        split: Kind of splits.
        options: Further options.

    Raises:
        InputError: If the list cannot be read, contradicts itself or is not the benchmark's.
    """
    if benchmark is None:
        return read_source(source, format=format, media=media, split=split, **options)
    format, split = format or benchmark.format, split or benchmark.split
    return benchmark.select(read_source(source, format=format, media=media, split=split, **options))
