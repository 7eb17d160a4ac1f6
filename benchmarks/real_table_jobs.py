"""The runs of the table of real recordings, in the order in which they are made."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from all_clips import METHODS as ALL_CLIPS
from folds import NUM_FOLDS
from real_table_stores import BACKBONES, SETS

from cign.methods import METHODS, default_recipe, method_class
from cign.methods.capabilities import is_updatable
from cign.utils.options import configure

NUM_TASKS = 4
NUM_ORDERS = 3
WIDTH = 192  # of `cign` and of transformer trunks
# Of a task. The recipe of `cign` has 1,000, which would double the time of the whole table.
MOST_MIN_STEPS = 250
MEMORY = "5/class"
SHOTS = (1, 2, 5, 10)
MULTI_LABEL = ("real24_duets",)
# Sets and number of class orders of a method that is not run on all.
PARTS = {"cign": (("real24", "real24_clutter"), 1), "joint": (SETS, 1)}


@dataclass(frozen=True, kw_only=True)
class Row:
    """A method of a table.

    Attributes:
        method: Its name.
        memory: Budget of exemplars.
    """

    method: str
    memory: str = "0"

    @property
    def trains_on_all(self) -> bool:
        """Whether it is a classifier of `all_clips`."""
        return self.method in ALL_CLIPS

    def supports(self, dataset: str) -> bool:
        """Whether the method can learn the labels of a set."""
        if dataset not in MULTI_LABEL or self.trains_on_all:
            return True
        return bool(method_class(self.method).supports_multi_label)


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of the page: one set, or few clips of it, and one pair of encoders.

    Attributes:
        backbone: One of `BACKBONES`.
        dataset: One of `SETS`.
        shots: Training clips of each class; None for all.
    """

    backbone: str
    dataset: str
    shots: int | None = None

    @property
    def name(self) -> str:
        """Name in file names."""
        few = "" if self.shots is None else f"-{self.shots}-shot"
        return f"{self.backbone}-{self.dataset}{few}"

    @property
    def rows(self) -> tuple[Row, ...]:
        """The methods of the table, those that take the least time first."""
        full = self.shots is None and self.backbone != "random"
        rows = FULL if full else SHORT
        parts = (PARTS.get(row.method, (SETS, NUM_ORDERS))[0] for row in rows)
        return tuple(
            row
            for row, datasets in zip(rows, parts, strict=True)
            if self.dataset in datasets and row.supports(self.dataset)
        )


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run.

    Attributes:
        table: The table that it belongs to.
        row: Its method and memory.
        order: Class order.
        fold: The fold whose clips are tested.
    """

    table: Table
    row: Row
    order: int
    fold: int

    @property
    def name(self) -> str:
        """Name of its file, without suffix."""
        memory = self.row.memory.replace("/", "-")
        return f"{self.table.name}-{self.row.method}-m{memory}-o{self.order}-f{self.fold}"

    @property
    def clips(self) -> str:
        """Name of its test clips, which few-shot tables share with the table of all clips."""
        return f"{self.table.dataset}-f{self.fold}"

    def plain(self) -> dict[str, Any]:
        """The job as JSON values; `Job.of` reads them."""
        return {
            **dataclasses.asdict(self.table),
            **dataclasses.asdict(self.row),
            "order": self.order,
            "fold": self.fold,
        }

    @classmethod
    def of(cls, values: dict[str, Any]) -> Job:
        """A job from the values of `plain`."""
        return cls(
            table=Table(**{name: values[name] for name in ("backbone", "dataset", "shots")}),
            row=Row(method=values["method"], memory=values["memory"]),
            order=values["order"],
            fold=values["fold"],
        )


def closed_forms() -> tuple[str, ...]:
    """The closed-form methods of the package."""
    return tuple(
        name
        for name in METHODS
        if is_updatable(METHODS[name]) and METHODS[name].__module__.startswith("cign.")
    )


CLOSED = tuple(Row(method=name) for name in closed_forms())
FULL = (
    *CLOSED,
    *(Row(method=name) for name in ALL_CLIPS),
    Row(method="finetune"),
    Row(method="bic", memory=MEMORY),
    Row(method="finetune", memory=MEMORY),
    Row(method="cign_replay", memory=MEMORY),
    Row(method="icarl", memory=MEMORY),
    Row(method="cign_tuned"),
    Row(method="cign_tuned", memory=MEMORY),
    Row(method="joint"),
    Row(method="cign"),
    Row(method="cign", memory=MEMORY),
)
SHORT = (*CLOSED, Row(method="finetune"), Row(method="joint"))


def tables() -> tuple[Table, ...]:
    """All tables, in the order of the page."""
    of_sets = {
        backbone: [Table(backbone=backbone, dataset=dataset) for dataset in SETS]
        for backbone in BACKBONES
    }
    few = [
        Table(backbone=backbone, dataset="real24", shots=shots)
        for backbone in BACKBONES
        if backbone != "random"
        for shots in SHOTS
    ]
    return (*of_sets["lite0+sfx"], *of_sets["small"], *few, *of_sets["random"])


def orders_of(row: Row) -> int:
    """Number of class orders of a method: one if it learns all classes at once."""
    if row.trains_on_all:
        return 1
    return PARTS.get(row.method, (SETS, NUM_ORDERS))[1]


def all_jobs() -> list[Job]:
    """All runs: first those of the first pair of encoders in one class order, for every method."""
    main = [table for table in tables() if table.shots is None]
    few = [table for table in tables() if table.shots is not None]
    by_backbone = {name: [t for t in main if t.backbone == name] for name in BACKBONES}
    first, others = range(1), range(1, NUM_ORDERS)
    return [
        *_jobs(by_backbone["lite0+sfx"], first),
        *_jobs(by_backbone["lite0+sfx"], others),
        *_jobs(by_backbone["small"], first),
        *_jobs(by_backbone["small"], others),
        *_jobs(few, range(NUM_ORDERS)),
        *_jobs(by_backbone["random"], range(NUM_ORDERS)),
    ]


def _jobs(some: Sequence[Table], orders: range) -> Iterator[Job]:
    for row in FULL:
        for order in orders:
            for table in some:
                if row in table.rows and order < orders_of(row):
                    for fold in range(NUM_FOLDS):
                        yield Job(table=table, row=row, order=order, fold=fold)


@functools.cache
def defaults_of(method: str) -> dict[str, Any]:
    """Default options of a method, as JSON values."""
    defaults: dict[str, Any] = json.loads(
        json.dumps(dataclasses.asdict(method_class(method).Options()))
    )
    return defaults


@functools.cache
def options_of(row: Row) -> list[Any]:
    """Reference of the method and all its options, as JSON values; of `all_clips`, its name."""
    if row.trains_on_all:
        return [row.method, {}]
    cls, options = method_class(row.method), dict(default_recipe(row.method).options)
    filled: Any = configure(cls.Options, options, f"recipe of {row.method}")
    has_transformer = getattr(filled, "trunk", "transformer") == "transformer"
    if has_transformer and getattr(filled, "width", 0) is None:
        filled = dataclasses.replace(filled, width=WIDTH)
    training = getattr(filled, "training", None)
    if training is not None and training.min_steps > MOST_MIN_STEPS:
        training = dataclasses.replace(training, min_steps=MOST_MIN_STEPS)
        filled = dataclasses.replace(filled, training=training)
    plain: list[Any] = json.loads(json.dumps([METHODS.reference(cls), dataclasses.asdict(filled)]))
    return plain
