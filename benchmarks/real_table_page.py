"""Numbers, intervals and page of the table of real recordings, from the runs that are finished.

A method's number on a fold is the mean over its class orders; its number in the table is the mean
over the five folds. Differences are paired: the same folds and the same test clips. Their interval
is the wider of a bootstrap, over folds and within them over clips, and Student's t over the folds.

Legend: S folds, M = 3 modalities, R draws of clips.
"""

from __future__ import annotations

import csv
import functools
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from folds import NUM_FOLDS
from real_table_jobs import Job, Row, Table, orders_of, tables
from real_table_runs import Kept, is_current, predictions_of, run_file

from cign.bench.intervals import STUDENT_T, paired_intervals
from cign.bench.resampling import resampled_numbers
from cign.data.clips import hash_lines
from cign.report.text import number
from cign.utils.code_version import count_versions, statement, warning
from cign.vocabulary import MODALITIES

AGAINST = ("cign_analytic", "analytic")
NUM_DRAWS = 2000  # of the clips of a fold
NAMES = {
    "lite0+sfx": "EfficientNet-Lite0 and aiSFX (`lite0+sfx`)",
    "small": "The small pair (`small`)",
    "random": "The small pair with random weights (`small-random`): the floor",
}
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Paired differences from another method, in points, each of shape [M].

    Attributes:
        value: Mean over the folds.
        low: Lower end of the 95 % interval.
        high: Upper end.
        kinds: ``bootstrap`` or ``student_t`` for each modality.
    """

    value: Floats
    low: Floats
    high: Floats
    kinds: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Line:
    """A row of a table with its numbers.

    Attributes:
        row: Method and memory.
        orders: Class orders that are finished on all folds.
        last: Last metric on each fold in percent, [S, M].
        forgetting: Audio-visual forgetting in percent; None for methods that learn at once.
        stored_mb: Exemplars, statistics or, for joint training, clips, in MB; None for methods
            that learn at once.
        cpu_seconds: Mean processor time of a run.
        differences: By the name of the other method.
    """

    row: Row
    orders: tuple[int, ...]
    last: Floats
    forgetting: float | None
    stored_mb: float | None
    cpu_seconds: float
    differences: Mapping[str, Difference] = field(default_factory=dict)


class Runs:
    """The finished runs, with the options that their methods have now."""

    def __init__(self, kept: Mapping[str, Kept]) -> None:
        self.kept = kept
        self._draws = functools.cache(self._resampled)

    @classmethod
    def read(cls, work: Path, jobs: Iterable[Job]) -> Runs:
        """Read the finished runs of some jobs."""
        files = {job: run_file(work, job) for job in jobs}
        return cls(
            {job.name: Kept.load(path) for job, path in files.items() if is_current(path, job)}
        )

    def of(self, table: Table, row: Row, order: int) -> list[Kept] | None:
        """The runs of a class order on all folds; None if one is missing."""
        names = [Job(table=table, row=row, order=order, fold=f).name for f in range(NUM_FOLDS)]
        return [self.kept[name] for name in names] if set(names) <= set(self.kept) else None

    def orders(self, table: Table, row: Row) -> tuple[int, ...]:
        """The class orders that are finished on all folds."""
        return tuple(k for k in range(orders_of(row)) if self.of(table, row, k) is not None)

    def numbers(self, table: Table, row: Row) -> Floats:
        """Last metric on each fold, averaged over the finished orders, [S, M]."""
        each = [
            [[kept.record["modalities"][name]["last"] for name in MODALITIES] for kept in runs]
            for runs in self._runs(table, row)
        ]
        return np.mean(np.array(each, dtype=np.float64), axis=0)

    def line(self, table: Table, row: Row) -> Line | None:
        """The numbers of a method, and its differences from `AGAINST`; None if not finished."""
        runs = [kept for order in self._runs(table, row) for kept in order]
        if not runs:
            return None
        others = [Row(method=name) for name in AGAINST if name != row.method]
        forgotten = [kept.record["modalities"]["audio_visual"]["forgetting"] for kept in runs]
        stored = [kept.record.get("bytes_kept") for kept in runs]
        return Line(
            row=row,
            orders=self.orders(table, row),
            last=self.numbers(table, row),
            forgetting=None if None in forgotten else float(np.mean(forgotten)),
            stored_mb=None if None in stored else float(np.mean(stored)) / 1e6,
            cpu_seconds=float(np.mean([kept.record["cpu_seconds"] for kept in runs])),
            differences={
                other.method: self.difference(table, row, other)
                for other in others
                if self.orders(table, other)
            },
        )

    def difference(self, table: Table, row: Row, other: Row) -> Difference:
        """Paired difference of a method from another one.

        Raises:
            ValueError: If the two were tested on different clips.
        """
        observed = self.numbers(table, row) - self.numbers(table, other)
        draws = [
            self._draws(table, row, fold) - self._draws(table, other, fold)
            for fold in range(NUM_FOLDS)
            if self._clips(table, row, fold) == self._clips(table, other, fold)
        ]
        if len(draws) < NUM_FOLDS:
            raise ValueError(f"{row.method} and {other.method} were tested on different clips")
        found = paired_intervals(observed, draws)
        return Difference(
            value=observed.mean(axis=0), low=found.low, high=found.high, kinds=found.kinds
        )

    def _runs(self, table: Table, row: Row) -> list[list[Kept]]:
        """The runs of all finished orders, by order and fold."""
        found = (self.of(table, row, order) for order in range(orders_of(row)))
        return [runs for runs in found if runs is not None]

    def _clips(self, table: Table, row: Row, fold: int) -> set[str]:
        """The test clips of a fold; all orders of a method have the same."""
        return {hash_lines(runs[fold].record["clips"][0]) for runs in self._runs(table, row)}

    def _resampled(self, table: Table, row: Row, fold: int) -> npt.NDArray[np.float32]:
        """Last metric on draws of a fold's clips, averaged over the finished orders, [M, R]."""
        (key,) = self._clips(table, row, fold)
        each = [
            resampled_numbers(predictions_of(runs[fold]), key, NUM_DRAWS)[: len(MODALITIES)]
            for runs in self._runs(table, row)
        ]
        return np.mean(each, axis=0, dtype=np.float32)


def missing(runs: Runs, jobs: Sequence[Job]) -> list[str]:
    """What is not finished: one sentence per table, with the number of runs of each method."""
    counts: dict[Table, dict[str, int]] = {}
    for job in jobs:
        if job.name not in runs.kept:
            label = f"{job.row.method}" + (f" ({job.row.memory})" * (job.row.memory != "0"))
            of_table = counts.setdefault(job.table, {})
            of_table[label] = of_table.get(label, 0) + 1
    return [
        f"- {heading(table)}: " + ", ".join(f"{label} {count}" for label, count in some.items())
        for table, some in counts.items()
    ]


def heading(table: Table) -> str:
    """The title of a table."""
    few = "" if table.shots is None else f", {table.shots} clips per class"
    return f"{table.dataset}{few.replace('1 clips', '1 clip')} ({table.backbone})"


def table_lines(lines: Sequence[Line]) -> list[str]:
    """A table in Markdown."""
    columns = ["method", "memory", "audio", "visual", "audio-visual"]
    columns += [f"difference from {name} [95 %]" for name in AGAINST]
    columns += ["forgetting", "stored (MB)", "orders", "s"]
    result = [f"| {' | '.join(columns)} |", f"| --- | --- {'| ---: ' * (len(columns) - 2)}|"]
    for line in lines:
        audio, visual, both = line.last.mean(axis=0)
        cells = [line.row.method, line.row.memory, number(audio), number(visual)]
        cells.append(f"{number(both)} ± {number(line.last[:, -1].std(ddof=1))}")
        cells += [in_words(line.differences.get(name), 2) for name in AGAINST]
        cells += [number(line.forgetting), number(line.stored_mb), str(len(line.orders))]
        cells.append(number(line.cpu_seconds))
        result.append(f"| {' | '.join(cells)} |")
    return result


def in_words(difference: Difference | None, modality: int) -> str:
    """A difference with its interval; empty where there is none."""
    if difference is None:
        return ""
    value, low, high = (
        number(float(values[modality]), True)
        for values in (difference.value, difference.low, difference.high)
    )
    return f"{value} [{low}, {high}]{' t' * (difference.kinds[modality] == STUDENT_T)}"


def as_csv(found: Mapping[Table, Sequence[Line]]) -> str:
    """All numbers and differences of all modalities."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    head = ["backbone", "dataset", "shots", "method", "memory", "orders"]
    head += [f"last_{modality}{end}" for modality in MODALITIES for end in ("", "_std")]
    ends = ("", "_low", "_high", "_interval")
    head += [f"{m}_minus_{name}{end}" for name in AGAINST for m in MODALITIES for end in ends]
    writer.writerow(head)
    for table, lines in found.items():
        for line in lines:
            cells: list[object] = [table.backbone, table.dataset, table.shots or ""]
            cells += [line.row.method, line.row.memory, len(line.orders)]
            for own in line.last.T:
                cells += [f"{own.mean():.4f}", f"{own.std(ddof=1):.4f}"]
            for name in AGAINST:
                cells += _cells(line.differences.get(name))
            writer.writerow(cells)
    return text.getvalue()


def _cells(difference: Difference | None) -> list[str]:
    if difference is None:
        return [""] * 4 * len(MODALITIES)
    cells = []
    for i in range(len(MODALITIES)):
        ends = (difference.value[i], difference.low[i], difference.high[i])
        cells += [*(f"{value:.4f}" for value in ends), difference.kinds[i]]
    return cells


def page(runs: Runs, jobs: Sequence[Job], introduction: str) -> tuple[str, str]:
    """The page and the CSV table of the finished runs.

    Args:
        runs: The finished runs.
        jobs: All runs of the table.
        introduction: Text below the title.
    """
    of_table = {
        table: [line for row in table.rows if (line := runs.line(table, row)) is not None]
        for table in tables()
    }
    found = {table: lines for table, lines in of_table.items() if lines}
    num_intervals = sum(len(line.differences) for lines in found.values() for line in lines)
    code = count_versions([kept.record["code"]] for kept in runs.kept.values())
    done = sum(job.name in runs.kept for job in jobs)
    parts = ["# Methods on real recordings", introduction.strip()]
    parts.append(f"**{done} of {len(jobs)} runs are done.**")
    if done:
        parts.append(f"{statement(code)} {warning(code)}".strip())
    if num_intervals:
        parts.append(
            f"This page has {num_intervals} intervals. They are not corrected for their number: of "
            "twenty true differences of zero, one interval is expected to exclude zero."
        )
    section = ""
    for table, lines in found.items():
        title = NAMES[table.backbone] + (", few clips" if table.shots else "")
        if title != section:
            section = title
            parts.append(f"## {title}")
        parts += [f"### {heading(table)}", "\n".join(table_lines(lines))]
    lacking = missing(runs, jobs)
    if lacking:
        parts += ["## Missing", "Runs that are not done, by method:", "\n".join(lacking)]
    return "\n\n".join(parts) + "\n", as_csv(found)
