"""The runs of comparison tables, in the order in which they are made."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from all_clips import FUSIONS
from all_clips import METHODS as ALL_CLIPS
from compare_data import Data, data_of
from compare_stores import BACKBONES

from cign.backbones.blocks import STEM
from cign.data.exemplar_memory import MemoryBudget
from cign.methods import METHODS, default_recipe, method_class
from cign.utils.options import configure, with_settings


@dataclass(frozen=True, kw_only=True)
class Row:
    """A method of a table.

    Attributes:
        method: Its name; another method than those of the package is ``module:Class``.
        memory: Budget of exemplars.
        label: Name in the table if it is a variant of the method; empty for the method itself.
        settings: Options of the variant that differ from the recipe, as ``NAME=VALUE``.
    """

    method: str
    memory: str = "0"
    label: str = ""
    settings: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name in the table."""
        return self.label or self.method

    @property
    def trains_on_all(self) -> bool:
        """Whether it is a classifier of `all_clips`."""
        return self.method in ALL_CLIPS

    @property
    def has_memory(self) -> bool:
        """Whether it has exemplars."""
        return MemoryBudget.parse(self.memory).amount > 0

    @property
    def needs_blocks(self) -> bool:
        """Whether the method takes the tokens that enter a frozen transformer."""
        return not self.trains_on_all and bool(method_class(self.method).needs_blocks)

    def supports(self, table: Table) -> bool:
        """Whether the method can learn the labels from the tokens."""
        if self.needs_blocks and f"{table.backbone}{STEM}" not in BACKBONES:
            return False
        if not self.trains_on_all and method_class(self.method).stream_reason(
            table.stream, "frozen"
        ):
            return False
        if not table.data.is_multi_label or self.trains_on_all:
            return True
        return bool(method_class(self.method).supports_multi_label)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What is changed of the recipes of all methods, to limit the time.

    Attributes:
        width: Width of transformers whose recipe leaves it to the tokens; None changes nothing.
        min_steps: Most of the least number of steps per task; None changes nothing.
    """

    width: int | None = None
    min_steps: int | None = None


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of a page: one kind of data, or few clips of it, and one pair of encoders.

    Attributes:
        backbone: One of `BACKBONES`.
        dataset: Name of the data, see `data_of`.
        shots: Training clips of each class; None for all.
        num_tasks: Number of tasks.
        stream: How training clips arrive, one of `cign.vocabulary.STREAMS`.
    """

    backbone: str
    dataset: str
    shots: int | None = None
    num_tasks: int = 4
    stream: str = "tasks"

    @property
    def data(self) -> Data:
        """What is trained on and tested."""
        return data_of(self.dataset)

    @property
    def name(self) -> str:
        """Name in file names."""
        few = "" if self.shots is None else f"-{self.shots}-shot"
        tasks = "" if self.num_tasks == 4 else f"-t{self.num_tasks}"
        stream = "" if self.stream == "tasks" else f"-{self.stream}"
        return f"{self.backbone}-{self.dataset}{few}{tasks}{stream}"


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run.

    Attributes:
        table: The table that it belongs to.
        row: Its method and memory.
        order: Class order.
        part: Number of the part of the data, from 0.
        limits: What is changed of recipes.
    """

    table: Table
    row: Row
    order: int
    part: int
    limits: Limits = field(default_factory=Limits)

    @property
    def name(self) -> str:
        """Name of its file, without suffix."""
        method = self.row.name.replace(":", ".").replace(", ", "-").replace(" ", "-")
        memory = self.row.memory.replace("/", "-")
        return f"{self.table.name}-{method}-m{memory}-o{self.order}-f{self.part}"

    @property
    def backbone(self) -> str:
        """One of `BACKBONES`: that of the table, or its stem."""
        return self.table.backbone + (STEM if self.row.needs_blocks else "")

    def plain(self) -> dict[str, Any]:
        """The job as JSON values; `Job.of` reads them."""
        return _plain(dataclasses.asdict(self))

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Job:
        """A job from the values of `plain`."""
        return cls(
            table=Table(**values["table"]),
            row=Row(**{**values["row"], "settings": tuple(values["row"]["settings"])}),
            order=values["order"],
            part=values["part"],
            limits=Limits(**values["limits"]),
        )


@dataclass(frozen=True, kw_only=True)
class Section:
    """Tables with the same rows and class orders.

    Attributes:
        tables: The tables.
        rows: Their methods, those that take the least time first.
        orders: Number of class orders; a method that trains on all classes at once has one.
        only: Data and number of class orders of methods that are not run on all.
    """

    tables: tuple[Table, ...]
    rows: tuple[Row, ...]
    orders: int = 3
    only: Mapping[str, tuple[Sequence[str] | None, int]] = field(default_factory=dict)

    def rows_of(self, table: Table) -> list[Row]:
        """The methods of a table."""
        return [
            row
            for row in self.rows
            if row.supports(table)
            and table.dataset in (self.only.get(row.method, (None, 0))[0] or (table.dataset,))
        ]

    def orders_of(self, row: Row) -> int:
        """Number of class orders of a method."""
        if row.trains_on_all:
            return 1
        return min(self.orders, self.only.get(row.method, (None, self.orders))[1])


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A page of tables.

    Attributes:
        name: Name of the page.
        title: Its title.
        introduction: Text below the title.
        sections: Its tables, in the order of the page.
        against: Methods that all others are compared with.
        limits: What is changed of recipes.
    """

    name: str
    title: str
    introduction: str
    sections: tuple[Section, ...]
    against: tuple[str, ...] = ("cign_analytic", "analytic")
    limits: Limits = field(default_factory=Limits)

    @property
    def tables(self) -> list[Table]:
        """All tables, in the order of the page."""
        return [table for section in self.sections for table in section.tables]

    def section_of(self, table: Table) -> Section:
        """The section of a table."""
        return next(section for section in self.sections if table in section.tables)

    def jobs(self) -> list[Job]:
        """All runs: those of one class order for every method and table, then the others."""
        return [
            job
            for is_first in (True, False)
            for section in self.sections
            for job in self._jobs(section, range(1) if is_first else range(1, section.orders))
        ]

    def _jobs(self, section: Section, orders: range) -> Iterator[Job]:
        for row in section.rows:
            for order in orders:
                for table in section.tables:
                    if row in section.rows_of(table) and order < section.orders_of(row):
                        for part in range(table.data.num_parts):
                            yield Job(
                                table=table, row=row, order=order, part=part, limits=self.limits
                            )


@functools.cache
def defaults_of(method: str) -> dict[str, Any]:
    """Default options of a method, as JSON values."""
    return _plain(dataclasses.asdict(method_class(method).Options()))


@functools.cache
def options_of(row: Row, limits: Limits) -> list[Any]:
    """Reference of the method and all its options, as JSON values."""
    if row.trains_on_all:
        return [row.method, {"fusions": len(FUSIONS)}]
    cls, options = method_class(row.method), default_recipe(row.method).options_for(row.memory)
    options = with_settings(options, row.settings)
    filled: Any = configure(cls.Options, options, f"recipe of {row.method}")
    has_transformer = getattr(filled, "trunk", "transformer") == "transformer"
    if limits.width and has_transformer and getattr(filled, "width", 0) is None:
        filled = dataclasses.replace(filled, width=limits.width)
    training = getattr(filled, "training", None)
    if limits.min_steps is not None and getattr(training, "min_steps", 0) > limits.min_steps:
        training = dataclasses.replace(training, min_steps=limits.min_steps)
        filled = dataclasses.replace(filled, training=training)
    return [METHODS.reference(cls), _plain(dataclasses.asdict(filled))]


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(values))
    return plain
