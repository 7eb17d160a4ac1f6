"""Summarise finished runs as rows of the table: means, standard deviations, paired intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cign.bench.config import ALL_STORES, BenchStore
from cign.bench.grid import BenchConfig
from cign.bench.intervals import Intervals, paired_intervals
from cign.bench.plan import Cell, Plan
from cign.bench.resampling import METRICS, NUMBERS
from cign.bench.worker import RESAMPLED, is_done, save_resampled
from cign.errors import InputError
from cign.runs.metrics_file import read_metrics
from cign.runs.record import codes_of
from cign.utils.code_version import CodeVersion, count_versions
from cign.vocabulary import MODALITIES

Floats = npt.NDArray[np.floating[Any]]
Row = dict[str, Any]
COSTS = ("bytes_kept", "trainable_parameters", "seconds", "peak_memory_mb")


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """The results of a finished run that the table uses.

    Attributes:
        numbers: Percent, in the order of `NUMBERS`, shape [9]; NaN where undefined.
        measure: ``accuracy`` or ``map``.
        costs: By name, see `COSTS`; ``bytes_kept`` includes the validation clips of old tasks.
        limit: The best score possible on its clips, percent, if known.
        threads: Number of threads of its process.
        code: Versions of the code that it was made with.
    """

    numbers: npt.NDArray[np.float64]
    measure: str
    costs: dict[str, float]
    limit: float | None
    threads: int
    code: tuple[CodeVersion, ...]

    @classmethod
    def read(cls, folder: Path) -> RunResult:
        """Read the ``metrics.json`` of a finished run.

        Raises:
            InputError: If an older version wrote it.
        """
        metrics = read_metrics(folder)
        if "modalities" not in metrics:
            raise InputError(
                "wrong-version",
                f"run {folder} was made by an older version: use another folder for --out",
            )
        modalities = metrics["modalities"]
        numbers = [modalities[modality][metric] for metric in METRICS for modality in MODALITIES]
        return cls(
            numbers=np.array([np.nan if x is None else x for x in numbers], dtype=np.float64),
            measure=modalities["audio"]["measure"],
            costs=_costs(metrics["costs"]),
            limit=metrics["limit"],
            threads=int(metrics["machine"]["threads"]),
            code=tuple(codes_of(metrics)),
        )


@dataclass(kw_only=True)
class Summary:
    """The finished runs of a bench and their summary.

    Attributes:
        config: Of the bench.
        worlds: Its stores.
        plan: Its runs and cells.
        folder: Of the run folders.
        results: The finished runs by name.
    """

    config: BenchConfig
    worlds: Sequence[BenchStore]
    plan: Plan
    folder: Path
    results: dict[str, RunResult] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._groups: dict[tuple[str, int, str], list[Cell]] = {}
        for cell in self.plan.cells:
            self._groups.setdefault((cell.method, cell.tasks, cell.memory), []).append(cell)
        self._resampled: dict[tuple[str, ...], Floats] = {}
        for run in self.plan.runs:
            self.add(run.name)
        self._check_against()

    def add(self, name: str) -> None:
        """Add a run if it is finished."""
        if is_done(self.folder / name):
            self.results[name] = RunResult.read(self.folder / name)

    def rows(self, *, intervals: bool = True) -> list[Row]:
        """One row for each store and one for all, for each method, number of tasks and memory.

        Args:
            intervals: Whether to compute the intervals too, which takes a moment.
        """
        rows: list[Row] = []
        for (method, tasks, memory), group in self._groups.items():
            cells = [cell for cell in group if self._done(cell)]
            if not cells:
                continue
            found = None if self.config.against is None else self.counterpart(group[0])
            others = self._groups[found] if found and intervals else []
            pairs = [
                (cell, other)
                for cell in cells
                for other in others
                if cell.world == other.world and self._done(other)
            ]
            head = {
                "method": method,
                "tasks": tasks,
                "memory": memory,
                "regime": self.config.regime,
                "against": {"method": found[0], "memory": found[2]} if found else None,
            }
            for cell in cells:
                own = [pair for pair in pairs if pair[0] is cell]
                row = self._row([cell], own, self._spread(cell))
                rows.append({**head, "store": self.worlds[cell.world].name, **row})
            means = np.array([self._mean(cell) for cell in cells])
            row = self._row(cells, pairs, _deviation(means), total=len(group))
            rows.append({**head, "store": ALL_STORES, **row})
        return rows

    def code(self) -> list[dict[str, Any]]:
        """Versions of the code that the finished runs were made with, counted."""
        return count_versions(result.code for result in self.results.values())

    def counterpart(self, cell: Cell) -> tuple[str, int, str] | None:
        """The group that a cell is compared with; None for that group itself, or without one.

        The memory is the one after ``@``; without ``@`` the memory of the cell, or the only memory
        of the reference method.
        """
        method, _, memory = (self.config.against or "").partition("@")
        memories = [key[2] for key in self._groups if key[:2] == (method, cell.tasks)]
        if not memories:  # `only` leaves it out at this number of tasks
            return None
        if not memory:
            memory = cell.memory if cell.memory in memories else memories[0]
            if memory != cell.memory and len(memories) > 1:
                return None
        own = (cell.method, cell.tasks, cell.memory)
        found = (method, cell.tasks, memory)
        return found if found in self._groups and found != own else None

    def _check_against(self) -> None:
        """Raise an error if the reference method is not among the runs."""
        if self.config.against is None:
            return
        method, _, memory = self.config.against.partition("@")
        known = self.plan.memories_of(method)
        if not known or (memory and memory not in known):
            allowed = ", ".join(f"{method}@{one}" for one in known) or "another method"
            raise InputError(
                "unknown-name",
                f"--against {self.config.against} is not among the runs: use {allowed}",
            )

    def _done(self, cell: Cell) -> list[str]:
        return [name for name in cell.runs if name in self.results]

    def _mean(self, cell: Cell) -> Floats:
        """Mean numbers over orders and seeds, shape [9]."""
        return np.mean([self.results[name].numbers for name in self._done(cell)], axis=0)

    def _spread(self, cell: Cell) -> Floats:
        """Standard deviation over orders and seeds, shape [9]; NaN with a single run."""
        return _deviation(np.array([self.results[name].numbers for name in self._done(cell)]))

    def _draws(self, cell: Cell) -> Floats:
        """Mean numbers over runs on resampled clips, shape [9, R]."""
        names = tuple(self._done(cell))
        if names not in self._resampled:
            total = np.zeros(())
            for name in names:
                path = self.folder / name / RESAMPLED
                if not path.exists():
                    save_resampled(self.folder / name)
                total = total + np.load(path, allow_pickle=False) / len(names)
            self._resampled[names] = total.astype(np.float32)
        return self._resampled[names]

    def _row(
        self,
        cells: Sequence[Cell],
        pairs: Sequence[tuple[Cell, Cell]],
        spread: Floats,
        total: int = 1,
    ) -> Row:
        """Numbers, costs and notes of a cell, or of all stores' cells."""
        means = np.array([self._mean(cell) for cell in cells]).mean(axis=0)
        differences, intervals = self._compare(pairs)
        numbers = {}
        for i, name in enumerate(NUMBERS):
            numbers[name] = {
                "value": _known(means[i]),
                "std": _known(spread[i]),
                "difference": None if differences is None else _known(differences[i]),
                "low": None if intervals is None else _known(intervals.low[i]),
                "high": None if intervals is None else _known(intervals.high[i]),
                "interval": None if intervals is None else intervals.kinds[i],
            }
        results = [self.results[name] for cell in cells for name in self._done(cell)]
        costs = {name: float(np.mean([one.costs[name] for one in results])) for name in COSTS}
        costs["peak_memory_mb"] = max(one.costs["peak_memory_mb"] for one in results)
        planned = sum(len(cell.runs) for cell in cells)
        notes = list(dict.fromkeys(note for cell in cells for note in cell.notes))
        if len(results) < planned:
            notes.append(f"{len(results)} of {planned} runs done")
        if len(cells) < total:
            notes.append(f"{len(cells)} of {total} stores only")
        if pairs and len(pairs) < len(cells):
            notes.append(f"compared on {len(pairs)} of {len(cells)} stores")
        return {
            "metric": "+".join(sorted({one.measure for one in results})),
            "numbers": numbers,
            **costs,
            "runs": len(results),
            "note": "; ".join(notes),
        }

    def _compare(
        self, pairs: Sequence[tuple[Cell, Cell]]
    ) -> tuple[Floats | None, Intervals | None]:
        """Mean difference over the stores of the pairs, shape [9], and its intervals."""
        if not pairs:
            return None, None
        differences = np.array([self._mean(ours) - self._mean(theirs) for ours, theirs in pairs])
        draws = [self._draws(ours) - self._draws(theirs) for ours, theirs in pairs]
        return differences.mean(axis=0), paired_intervals(differences, draws)


def _costs(recorded: dict[str, Any]) -> dict[str, float]:
    """The costs of the table; runs of older versions record no bytes of validation clips."""
    costs = {name: float(recorded[name]) for name in COSTS}
    costs["bytes_kept"] += float(recorded.get("validation_bytes") or 0)
    return costs


def _deviation(values_SM: Floats) -> Floats:
    """Standard deviation over the first axis (n - 1); NaN for a single value."""
    if len(values_SM) < 2:
        return np.full(values_SM.shape[1], np.nan)
    result: Floats = values_SM.std(axis=0, ddof=1)
    return result


def _known(value: float | np.floating[Any]) -> float | None:
    """JSON has no NaN: an undefined number is None."""
    return None if np.isnan(value) else round(float(value), 4)
