"""Numbers and intervals of a comparison, from the runs that are finished.

A method's number on a part of the data (a fold, a synthetic dataset) is the mean over its class
orders; its number in the table is the mean over the parts. Differences are paired: the same parts
and the same test clips. Their interval is the wider of a bootstrap, over parts and within them over
clips, and Student's t over the parts.

Legend: S parts, M = 3 modalities, R draws of clips.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from compare_jobs import Comparison, Job, Row, Table
from compare_runs import Kept, current, predictions_of, run_file
from comparisons import DRAWS_OF_ONE, NUM_DRAWS

from cign.bench.intervals import LEVEL, holm, paired_intervals
from cign.bench.resampling import resampled_numbers
from cign.data.clips import hash_lines
from cign.vocabulary import MODALITIES

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Paired differences from another method, in points, each of shape [M].

    Attributes:
        value: Mean over the folds.
        low: Lower end of the 95 % interval.
        high: Upper end.
        kinds: ``bootstrap`` or ``student_t`` for each modality.
        p_values: Two-sided, see `Intervals`.
    """

    value: Floats
    low: Floats
    high: Floats
    kinds: tuple[str, ...]
    p_values: Floats


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
        holds: Names of the other methods whose audio-visual difference is not 0 after Holm's
            correction within the table.
    """

    row: Row
    orders: tuple[int, ...]
    last: Floats
    forgetting: float | None
    stored_mb: float | None
    cpu_seconds: float
    differences: Mapping[str, Difference] = field(default_factory=dict)
    holds: frozenset[str] = frozenset()


class Runs:
    """The finished runs of a comparison, with the options that their methods have now."""

    def __init__(self, comparison: Comparison, kept: Mapping[str, Kept]) -> None:
        self.comparison = comparison
        self.kept = kept
        self._draws = functools.cache(self._resampled)

    @classmethod
    def read(cls, comparison: Comparison, work: Path) -> Runs:
        """Read the finished runs."""
        found = {job.name: current(run_file(work, job), job) for job in comparison.jobs()}
        return cls(comparison, {name: kept for name, kept in found.items() if kept is not None})

    def of(self, table: Table, row: Row, order: int) -> list[Kept] | None:
        """The runs of a class order on all parts; None if one is missing."""
        names = [
            Job(table=table, row=row, order=order, part=part).name
            for part in range(table.data.num_parts)
        ]
        return [self.kept[name] for name in names] if set(names) <= set(self.kept) else None

    def orders(self, table: Table, row: Row) -> tuple[int, ...]:
        """The class orders that are finished on all parts."""
        orders = self.comparison.section_of(table).orders_of(row)
        return tuple(k for k in range(orders) if self.of(table, row, k) is not None)

    def numbers(self, table: Table, row: Row) -> Floats:
        """Last metric on each part, averaged over the finished orders, [S, M]."""
        each = [
            [[kept.record["modalities"][name]["last"] for name in MODALITIES] for kept in runs]
            for runs in self._runs(table, row)
        ]
        return np.mean(np.array(each, dtype=np.float64), axis=0)

    def line(self, table: Table, row: Row) -> Line | None:
        """The numbers of a method, and its differences from others; None if not finished."""
        runs = [kept for order in self._runs(table, row) for kept in order]
        if not runs:
            return None
        rows = self.comparison.section_of(table).rows
        found = (next((r for r in rows if r.name == n), None) for n in self.comparison.against)
        others = [other for other in found if other is not None and other != row]
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
                other.name: self.difference(table, row, other)
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
            self._draws(table, row, part) - self._draws(table, other, part)
            for part in range(table.data.num_parts)
            if self._clips(table, row, part) == self._clips(table, other, part)
        ]
        if len(draws) < table.data.num_parts:
            raise ValueError(f"{row.name} and {other.name} were tested on different clips")
        found = paired_intervals(observed, draws)
        return Difference(
            value=observed.mean(axis=0),
            low=found.low,
            high=found.high,
            kinds=found.kinds,
            p_values=found.p_values,
        )

    def _runs(self, table: Table, row: Row) -> list[list[Kept]]:
        """The runs of all finished orders, by order and part."""
        orders = self.comparison.section_of(table).orders_of(row)
        found = (self.of(table, row, order) for order in range(orders))
        return [runs for runs in found if runs is not None]

    def _clips(self, table: Table, row: Row, part: int) -> set[str]:
        """The test clips of a part; all orders of a method have the same."""
        return {hash_lines(runs[part].record["clips"][0]) for runs in self._runs(table, row)}

    def _resampled(self, table: Table, row: Row, part: int) -> npt.NDArray[np.float32]:
        """Last metric on draws of a part's clips, averaged over the finished orders, [M, R]."""
        (key,) = self._clips(table, row, part)
        num_draws = NUM_DRAWS if table.data.num_parts > 1 else DRAWS_OF_ONE
        each = [
            resampled_numbers(predictions_of(runs[part]), key, num_draws)[: len(MODALITIES)]
            for runs in self._runs(table, row)
        ]
        return np.mean(each, axis=0, dtype=np.float32)


def corrected(lines: Sequence[Line]) -> list[Line]:
    """The lines of a table with the audio-visual differences that hold after Holm's correction."""
    places = [(line, name) for line in lines for name in line.differences]
    p_values = [float(line.differences[name].p_values[-1]) for line, name in places]
    holds: dict[int, set[str]] = {}
    for (line, name), p_value in zip(places, holm(p_values), strict=True):
        if p_value < 1 - LEVEL:
            holds.setdefault(id(line), set()).add(name)
    return [replace(line, holds=frozenset(holds.get(id(line), ()))) for line in lines]
