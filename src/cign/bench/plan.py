"""Expand the grid into runs; a run that several cells of the table share is made once."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cign.bench.config import BenchStore, Entry, backbone_of
from cign.bench.grid import BenchConfig
from cign.data.benchmarks import published_tasks
from cign.data.exemplar_memory import MemoryBudget
from cign.data.tasks import IntArray, TaskClips, TaskSequence
from cign.errors import InputError
from cign.methods import method_class
from cign.runs.training_data import bytes_per_clip, training_clips
from cign.runs.unusual_clips import check_weights, without_background


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """One run.

    Attributes:
        name: Name of its folder.
        entry: Method and options.
        world: Index of the store.
        groups: Classes of each task.
        memory: Budget of exemplars.
        order: Class order from which the groups were cut.
        seed: Seed of the run.
        backbone: Backbone whose tokens are used, or which is trained.
    """

    name: str
    entry: Entry
    world: int
    groups: tuple[tuple[str, ...], ...]
    memory: str
    order: int
    seed: int
    backbone: str


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One method at one number of tasks and one memory on one store.

    Attributes:
        method: The entry's name.
        tasks: Number of tasks.
        memory: Requested budget; 0 for a method without exemplars.
        world: Index of the store.
        runs: Names of its runs.
        notes: Remarks for the table.
    """

    method: str
    tasks: int
    memory: str
    world: int
    runs: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """A requested configuration that cannot be run."""

    method: str
    memory: str
    reason: str


@dataclass(kw_only=True)
class Plan:
    """All runs, the cells of the table that use them, and the skipped configurations."""

    runs: list[PlannedRun] = field(default_factory=list)
    cells: list[Cell] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)

    def memories_of(self, method: str) -> list[str]:
        """The memories that a method is run with."""
        return list(dict.fromkeys(cell.memory for cell in self.cells if cell.method == method))


def make_plan(
    config: BenchConfig,
    entries: Sequence[Entry],
    worlds: Sequence[BenchStore],
    *,
    how_far: Callable[[str], int] = lambda name: 0,
) -> Plan:
    """Expand the grid.

    A method without exemplars is run with memory 0 only. A method whose result does not depend on
    the class order or the seed is run with one of them. All memories that hold every training clip
    share one run.

    Args:
        config: The grid.
        entries: Its methods with their options.
        worlds: Its stores.
        how_far: Progress of a run, by name. Of equal runs, only the one with the most progress is
            made; on a tie, the first.

    Raises:
        InputError: If stores, tasks and memories are incompatible, or nothing is left to run.
    """
    plan = Plan()
    equal: dict[str, list[PlannedRun]] = {}
    drafts: list[tuple[Cell, list[str]]] = []
    budgets = {entry.name: _budgets(config, entry, plan.skipped) for entry in entries}
    for number, world in enumerate(worlds):
        clips = _Clips(config, world)
        for entry in entries:
            check_weights(method_class(entry.method), clips.table, f"store {world.name}")
        for tasks in config.tasks:
            for entry in entries:
                if tasks not in config.tasks_of(entry.name):
                    continue
                for memory, notes in budgets[entry.name]:
                    runs, more = _runs(config, entry, number, world, clips, tasks, memory)
                    for key, run in runs:
                        equal.setdefault(key, []).append(run)
                    cell = Cell(
                        method=entry.name,
                        tasks=tasks,
                        memory=memory,
                        world=number,
                        notes=(*notes, *more),
                    )
                    drafts.append((cell, [key for key, _ in runs]))
    known = {key: max(runs, key=lambda run: how_far(run.name)) for key, runs in equal.items()}
    for cell, keys in drafts:
        names = tuple(dict.fromkeys(known[key].name for key in keys))
        plan.cells.append(dataclasses.replace(cell, runs=names))
    if not plan.cells:
        reasons = "; ".join(f"{one.method}: {one.reason}" for one in plan.skipped)
        raise InputError(
            "conflicting-options",
            f"nothing is left to run ({reasons}): change --memory or --methods",
        )
    # Methods and stores progress evenly: one seed, order and number of tasks of all of them first.
    plan.runs = sorted(known.values(), key=lambda run: (run.seed, run.order, len(run.groups)))
    if len({run.name for run in plan.runs}) < len(plan.runs):
        raise InputError("name-taken", "two runs would share a folder: rename a store or a recipe")
    return plan


def _budgets(
    config: BenchConfig, entry: Entry, skipped: list[Skipped]
) -> list[tuple[str, tuple[str, ...]]]:
    """The memories that a method is run with, each with its notes."""
    cls = method_class(entry.method)
    memories = config.memories_of(entry.name)
    if config.regime not in cls.regimes:
        reason = f"does not run in regime {config.regime}"
        skipped.append(Skipped(method=entry.name, memory="any", reason=reason))
        return []
    if reason := cls.stream_reason(config.arrival.stream, config.regime):
        skipped.append(Skipped(method=entry.name, memory="any", reason=reason))
        return []
    if not cls.uses_memory:
        others = [text for text in memories if MemoryBudget.parse(text).amount]
        note = "trains on all clips" if cls.replays_everything else "stores no exemplars"
        if others:
            note += f": one run, also for memory {', '.join(others)}"
        return [("0", (note,))]
    result: dict[str, tuple[str, ...]] = {}
    for text in memories:
        if MemoryBudget.parse(text).amount:
            result[text] = ()
        elif cls.needs_memory:
            reason = "needs exemplars and has none at memory 0"
            skipped.append(Skipped(method=entry.name, memory="0", reason=reason))
        else:
            result["0"] = ()
    return list(result.items())


def run_name(method: str, store: str, tasks: int, memory: str, order: object, seed: object) -> str:
    """The name of a run's folder; ``"*"`` for a part gives a glob pattern over that part."""
    text = memory.strip().lower().replace("/", "-")
    return f"{method}-{store}-t{tasks}-m{text}-o{order}-s{seed}"


def _runs(
    config: BenchConfig,
    entry: Entry,
    number: int,
    world: BenchStore,
    clips: _Clips,
    tasks: int,
    memory: str,
) -> tuple[list[tuple[str, PlannedRun]], list[str]]:
    """The runs of a cell, each with a key that equal runs share, and the notes of the cell."""
    cls = method_class(entry.method)
    all_orders, all_seeds = config.orders_of(tasks, entry.name), config.seeds_of(entry.name)
    # Sums over clips do not depend on class order, but encoders adapted on the first task do.
    adapts = config.regime == "end-to-end" and not cls.order_matters
    # Other streams draw the clips of each task by order and seed, whatever the method.
    arrival = config.arrival
    is_drawn = arrival.stream != "tasks"
    orders = all_orders if entry.order_matters or adapts or is_drawn else 1
    seeds = all_seeds if cls.seed_matters or adapts or is_drawn else 1
    notes = ["encoders are trained on the first task only, then frozen"] if adapts else []
    if orders * seeds < all_orders * all_seeds:
        spared = [f"{all_orders} orders"] if orders < all_orders else []
        spared += [f"{all_seeds} seeds"] if seeds < all_seeds else []
        notes.append(f"one run for {' and '.join(spared)}, which do not change the final result")
    elif others := _different_counts(config, tasks, all_orders, all_seeds):
        notes.append(others)
    if not cls.supports_background and world.store.table.num_background:
        notes.append("learns no background, which is left out")
    backbone = backbone_of(config, entry, world)
    clip_bytes = bytes_per_clip(config.regime, backbone, world.store)
    runs = []
    for order in range(orders):
        cut = published_tasks if config.keeps_groups else arrival.cut
        sequence = cut(world.store.class_names, tasks, order)
        arrival.check_tasks(sequence)
        groups = sequence.groups
        for seed in range(seeds):
            counts = clips.per_class(groups, seed)
            held, is_all = _held(memory, counts, clip_bytes)
            if is_all and order == seed == 0:
                notes.append(f"holds all {counts.sum()} training clips")
            options = entry.options_for(memory)
            same = [entry.method, options, number, groups, held, seed, backbone]
            run = PlannedRun(
                name=run_name(entry.name, world.name, tasks, memory, order, seed),
                entry=entry,
                world=number,
                groups=groups,
                memory=memory,
                order=order,
                seed=seed,
                backbone=backbone,
            )
            runs.append((json.dumps(same, sort_keys=True), run))
    return runs, notes


def _different_counts(config: BenchConfig, tasks: int, orders: int, seeds: int) -> str:
    """The numbers of class orders and seeds that differ from those of the other methods."""
    own = ((orders, config.orders_of(tasks), "class order"), (seeds, config.num_seeds, "seed"))
    return ", ".join(
        f"{n} of {rest} {what}s" if n < rest else f"{n} {what}s, others {rest}"
        for n, rest, what in own
        if n != rest
    )


def _held(memory: str, counts: IntArray, clip_bytes: int) -> tuple[list[Any], bool]:
    """Key shared by budgets that store the same clips, and whether they store all clips.

    Raises:
        InputError: If the budget leaves a class without a clip.
    """
    budget = MemoryBudget.parse(memory)
    quotas = budget.quotas(len(counts), clip_bytes)
    if budget.amount and bool((quotas >= counts).all()):
        return ["all"], True
    if budget.unit == "bytes":
        return ["total", budget.amount // clip_bytes], False
    return [budget.unit if budget.amount else "total", budget.amount], False


class _Clips:
    """Training clips of a store, counted by class."""

    def __init__(self, config: BenchConfig, world: BenchStore) -> None:
        allow_missing = bool(config.settings.get("allow_missing"))
        self._arrival = config.arrival
        self.table = world.store.table.clips
        self._train = training_clips(world.store, allow_missing=allow_missing)
        self._counts: dict[tuple[Any, ...], IntArray] = {}

    def per_class(self, groups: tuple[tuple[str, ...], ...], seed: int) -> IntArray:
        """Number of training clips of each class available to the memory, in class order, [C]."""
        key = (groups, seed if self._arrival.is_drawn else 0)
        if key not in self._counts:
            labels = [clip.labels for clip in self.table]
            is_drawn = self._arrival.is_drawn
            sources = [clip.source for clip in self.table] if is_drawn else None
            clips = TaskClips.of(labels, TaskSequence(groups), sources)
            train = without_background(clips, self._train)
            clips = self._arrival.drawn(clips, train, seed)
            taught = train[clips.arrival[train] >= 0]
            counts = np.bincount(clips.class_of(taught), minlength=sum(map(len, groups)))
            self._counts[key] = counts.astype(np.int64)
        return self._counts[key]
