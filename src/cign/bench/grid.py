"""Configuration of a bench: the grid, and the part of the grid that a method is run on."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cign.data.exemplar_memory import MemoryBudget
from cign.errors import InputError, one_of
from cign.runs.arrival import ArrivalConfig
from cign.runs.configuration import run_options


@dataclass(frozen=True, kw_only=True)
class Part:
    """The part of the grid that one method is run on; None uses the setting of the grid.

    Attributes:
        tasks: Numbers of tasks, a subset of the grid's.
        memories: Budgets of exemplars, which need not be the grid's.
        num_orders: Class orders 0, 1, ..., for every number of tasks.
        num_seeds: Seeds 0, 1, ...
    """

    tasks: tuple[int, ...] | None = None
    memories: tuple[str, ...] | None = None
    num_orders: int | None = None
    num_seeds: int | None = None

    def __str__(self) -> str:
        """The text that `parse` accepts, without the name."""
        settings = {
            "tasks": self.tasks,
            "memory": self.memories,
            "orders": None if self.num_orders is None else (self.num_orders,),
            "seeds": None if self.num_seeds is None else (self.num_seeds,),
        }
        return ":".join(
            f"{key}={','.join(map(str, values))}"
            for key, values in settings.items()
            if values is not None
        )

    @classmethod
    def parse(cls, text: str) -> tuple[str, Part]:
        """Read ``NAME:tasks=4,12:memory=0:orders=1:seeds=1``; any of the four may be left out.

        Returns:
            The method's name and its part.

        Raises:
            InputError: If the text has another form.
        """
        name, *settings = text.split(":")
        pairs = [setting.partition("=") for setting in settings]
        values = {key.strip(): value.split(",") for key, _, value in pairs}
        try:
            if not name or not values or not set(values) <= {"tasks", "memory", "orders", "seeds"}:
                raise ValueError
            if len(values) < len(pairs):  # a key twice: one would be lost
                raise ValueError
            return name, cls(
                tasks=tuple(map(int, values["tasks"])) if "tasks" in values else None,
                memories=tuple(values["memory"]) if "memory" in values else None,
                num_orders=int(",".join(values["orders"])) if "orders" in values else None,
                num_seeds=int(",".join(values["seeds"])) if "seeds" in values else None,
            )
        except ValueError:
            raise InputError(
                "bad-value",
                f"invalid --only {text!r}: use the form cign:tasks=4:memory=0,120:orders=1",
            ) from None


def parse_parts(texts: Iterable[str]) -> dict[str, Part]:
    """Read several parts, each for a different method; see `Part.parse`.

    Raises:
        InputError: If one is invalid, or a method is named twice.
    """
    parts: dict[str, Part] = {}
    for text in texts:
        name, part = Part.parse(text)
        if name in parts:
            raise InputError(
                "bad-value",
                f"--only names {name} twice: join the settings, like {name}:tasks=4:memory=120",
            )
        parts[name] = part
    return parts


@dataclass(frozen=True, kw_only=True)
class BenchConfig:
    """The grid: methods x stores x seeds x orders x task counts x memories.

    Attributes:
        stores: Prepared stores; differences between methods are paired within a store.
        methods: Names of methods, or of recipe files in ``recipes``.
        tasks: Numbers of tasks.
        memories: Budgets of exemplars, as `MemoryBudget` reads them.
        num_orders: Class orders 0, 1, ... (0 is that of the data), for each number of tasks; a
            single number applies to all of them.
        num_seeds: Seeds 0, 1, ...
        against: Reference method, or ``METHOD@MEMORY``, of the reported differences.
        test_stores: Stores whose test clips are used instead: one for all ``stores``, or one
            for each.
        settings: Run options of all runs by name, except those that the grid varies; see
            `cign.runs.configuration`. Those left out have their defaults.
        recipes: Folder of ``NAME.yaml``; a method without a file there uses its default recipe.
        only: Methods that are run on a part of the grid.
        keeps_groups: Whether to use published groups: tasks are cut from the class order of the
            data, and a class order permutes whole tasks.

    Raises:
        InputError: If a list is empty, a name unknown or a number out of range.
    """

    stores: tuple[Path, ...]
    methods: tuple[str, ...]
    tasks: tuple[int, ...]
    memories: tuple[str, ...] = ("0",)
    num_orders: tuple[int, ...] = (1,)
    num_seeds: int = 1
    against: str | None = None
    test_stores: tuple[Path, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    recipes: Path | None = None
    only: Mapping[str, Part] = field(default_factory=dict)
    keeps_groups: bool = False

    def __post_init__(self) -> None:
        for name in ("stores", "methods", "tasks", "memories"):
            values = getattr(self, name)
            if not values:
                raise InputError(
                    "missing-option", f"a bench needs at least one of --{name}: give some"
                )
            twice = [value for value in values if values.count(value) > 1]
            if twice:
                raise InputError("bad-value", f"--{name} names {twice[0]} twice: name each once")
        for text in self.memories:
            MemoryBudget.parse(text)
        shared = {one.name: one for one in run_options() if not one.is_grid_axis}
        for name, value in self.settings.items():
            if name not in shared:
                raise one_of(name, shared, "setting of a bench")
            shared[name].check(value)
        self.arrival.refuse_ignored()
        if len(self.num_orders) not in (1, len(self.tasks)):
            raise InputError(
                "conflicting-options",
                f"--orders has {len(self.num_orders)} numbers for {len(self.tasks)} numbers of "
                "tasks: give one for all, or one for each",
            )
        if min(*self.num_orders, self.num_seeds, 1) < 1:
            raise InputError("bad-value", "--orders and --seeds are counts: use 1 or more")
        if len(self.test_stores) not in (0, 1, len(self.stores)):
            raise InputError(
                "conflicting-options",
                f"{len(self.test_stores)} --test-store do not match {len(self.stores)} stores: "
                "give one for all, or one for each in the same order",
            )
        for name, part in self.only.items():
            if name not in self.methods:
                raise one_of(name, self.methods, "method in --only")
            odd = [number for number in part.tasks or () if number not in self.tasks]
            if odd:
                raise InputError(
                    "conflicting-options",
                    f"--only {name} has {odd[0]} tasks, which is not in the grid: "
                    "add it to --tasks",
                )
            if any(n is not None and n < 1 for n in (part.num_orders, part.num_seeds)):
                raise InputError(
                    "bad-value", "orders and seeds of --only are counts: use 1 or more"
                )
            for text in part.memories or ():
                MemoryBudget.parse(text)
        if self.against is not None and self.against.partition("@")[0] not in self.methods:
            raise one_of(self.against, self.methods, "method to compare --against")

    @property
    def regime(self) -> str:
        """``frozen`` or ``end-to-end``."""
        return str(self.settings.get("regime", "frozen"))

    @property
    def arrival(self) -> ArrivalConfig:
        """How the training clips of all runs arrive."""
        names = {one.name for one in dataclasses.fields(ArrivalConfig)}
        return ArrivalConfig(**{k: v for k, v in self.settings.items() if k in names})

    @property
    def backbone(self) -> str | None:
        """Backbone whose tokens are used, or which is trained; None takes the only one."""
        return self.settings.get("backbone")

    def tasks_of(self, name: str) -> tuple[int, ...]:
        """The numbers of tasks that a method is run with."""
        return self._part(name).tasks or self.tasks

    def memories_of(self, name: str) -> tuple[str, ...]:
        """The budgets that a method is run with."""
        return self._part(name).memories or self.memories

    def seeds_of(self, name: str) -> int:
        """How many seeds a method is run with."""
        return self._part(name).num_seeds or self.num_seeds

    def _part(self, name: str) -> Part:
        return self.only.get(name, Part())

    def orders_of(self, num_tasks: int, name: str = "") -> int:
        """Number of class orders for a number of tasks, of one method or of the grid."""
        own = self._part(name).num_orders
        if own is not None:
            return own
        place = self.tasks.index(num_tasks) if len(self.num_orders) > 1 else 0
        return self.num_orders[place]
