"""What is asked of a bench: the grid, and the part of it that a method is run on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cign.data.exemplar_memory import MemoryBudget
from cign.errors import InputError, one_of
from cign.vocabulary import REGIMES


@dataclass(frozen=True, kw_only=True)
class Part:
    """The part of the grid that one method is run on; None leaves it as it is for all.

    Attributes:
        tasks: Numbers of tasks, some of the grid's.
        memories: Budgets of exemplars, which need not be the grid's.
        num_orders: Class orders 0, 1, ..., for every number of tasks.
        num_seeds: Seeds 0, 1, ...
    """

    tasks: tuple[int, ...] | None = None
    memories: tuple[str, ...] | None = None
    num_orders: int | None = None
    num_seeds: int | None = None

    def __str__(self) -> str:
        """As `parse` reads it, without the name."""
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
            InputError: If it is written otherwise.
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
                f"--only {text!r} cannot be read: write it like cign:tasks=4:memory=0,120:orders=1"
            ) from None


def parse_parts(texts: Iterable[str]) -> dict[str, Part]:
    """Read several parts, each of another method; see `Part.parse`.

    Raises:
        InputError: If one cannot be read, or a method is named twice.
    """
    parts: dict[str, Part] = {}
    for text in texts:
        name, part = Part.parse(text)
        if name in parts:
            raise InputError(
                f"--only names {name} twice: join the settings, like {name}:tasks=4:memory=120"
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
        num_orders: Class orders 0, 1, ... (0 is the data's own), for each number of tasks; a
            single number holds for all of them.
        num_seeds: Seeds 0, 1, ...
        against: Method, or ``METHOD@MEMORY``, that the others' differences are measured against.
        test_stores: Stores whose test clips are scored instead: one for all ``stores``, or one
            for each.
        regime: ``frozen`` or ``end-to-end``.
        backbone: Whose tokens are read, or which is trained; None takes the only one that fits.
        recipes: Folder of ``NAME.yaml``; a method without a file there has its own recipe.
        bf16: Whether encoders and transformers multiply in bfloat16.
        only: Methods that are run on a part of the grid.
        keeps_groups: Whether a class order permutes the tasks as wholes, which are cut from the
            data's own order: published groups.

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
    regime: str = "frozen"
    backbone: str | None = None
    recipes: Path | None = None
    bf16: bool = False
    only: Mapping[str, Part] = field(default_factory=dict)
    keeps_groups: bool = False

    def __post_init__(self) -> None:
        for name in ("stores", "methods", "tasks", "memories"):
            values = getattr(self, name)
            if not values:
                raise InputError(f"a bench needs at least one of --{name}: give some")
            twice = [value for value in values if values.count(value) > 1]
            if twice:
                raise InputError(f"--{name} names {twice[0]} twice: name each once")
        for text in self.memories:
            MemoryBudget.parse(text)
        if self.regime not in REGIMES:
            raise one_of(self.regime, REGIMES, "regime")
        if len(self.num_orders) not in (1, len(self.tasks)):
            raise InputError(
                f"--orders has {len(self.num_orders)} numbers for {len(self.tasks)} numbers of "
                "tasks: give one for all, or one for each"
            )
        if min(*self.num_orders, self.num_seeds, 1) < 1:
            raise InputError("--orders and --seeds are counts: use 1 or more")
        if len(self.test_stores) not in (0, 1, len(self.stores)):
            raise InputError(
                f"{len(self.test_stores)} --test-store do not go with {len(self.stores)} stores: "
                "give one for all, or one for each in the same order"
            )
        for name, part in self.only.items():
            if name not in self.methods:
                raise one_of(name, self.methods, "method in --only")
            odd = [number for number in part.tasks or () if number not in self.tasks]
            if odd:
                raise InputError(
                    f"--only {name} has {odd[0]} tasks, which the grid has not: add it to --tasks"
                )
            if any(n is not None and n < 1 for n in (part.num_orders, part.num_seeds)):
                raise InputError("orders and seeds of --only are counts: use 1 or more")
            for text in part.memories or ():
                MemoryBudget.parse(text)
        if self.against is not None and self.against.partition("@")[0] not in self.methods:
            raise one_of(self.against, self.methods, "method to compare --against")

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
        """How many class orders are run with so many tasks, of one method or in the grid."""
        own = self._part(name).num_orders
        if own is not None:
            return own
        place = self.tasks.index(num_tasks) if len(self.num_orders) > 1 else 0
        return self.num_orders[place]
