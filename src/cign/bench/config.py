"""Recipes and stores of a grid, and the check that a resumed bench is unchanged."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cign.backbones.blocks import STEM
from cign.bench.grid import BenchConfig, Part
from cign.data.exemplar_memory import MemoryBudget
from cign.data.store import Store
from cign.errors import InputError
from cign.methods import METHODS, default_recipe, method_class
from cign.methods.base import Method
from cign.methods.phases import TrainingOptions
from cign.runs.configuration import run_options
from cign.runs.training_data import fitting_backbone
from cign.utils.files import read_json, write_json
from cign.utils.options import Recipe, configure, read_recipe

FORMAT = 1
ALL_STORES = "all"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A row of the comparison: a method with its options.

    Attributes:
        name: Name in the table.
        method: Name of the method.
        options: All its options.
        with_memory: All its options in runs with exemplars; None if they are the same.
        order_matters: Whether its final state depends on the class order, with these options.
    """

    name: str
    method: str
    options: dict[str, Any]
    with_memory: dict[str, Any] | None = None
    order_matters: bool = True

    def options_for(self, memory: str) -> dict[str, Any]:
        """Its options in runs with a budget of exemplars."""
        holds_none = MemoryBudget.parse(memory).amount == 0
        return self.options if holds_none or self.with_memory is None else self.with_memory


@dataclass(frozen=True, kw_only=True)
class BenchStore:
    """A store and its name in the table.

    Attributes:
        name: Unique among the stores of the bench.
        store: Training data.
        test_store: Test data, if in a different store.
    """

    name: str
    store: Store
    test_store: Store | None = None

    @property
    def tested(self) -> Store:
        """The store with the test clips."""
        return self.test_store or self.store


def read_entries(config: BenchConfig) -> tuple[Entry, ...]:
    """The methods with their recipes.

    Raises:
        InputError: If a name is neither a method nor a recipe, or a recipe is invalid.
    """
    entries = []
    for name in config.methods:
        recipe = _recipe(name, config.recipes)
        cls = method_class(recipe.method)
        filled, with_memory = (
            _filled(cls, recipe.options_for(memory), f"recipe of {name}", config.regime)
            for memory in ("0", "1")
        )
        label = cls.name if ":" in name else name
        reference = METHODS.reference(cls)
        entries.append(
            Entry(
                name=label,
                method=reference,
                options=dataclasses.asdict(filled),
                with_memory=None if with_memory == filled else dataclasses.asdict(with_memory),
                order_matters=cls.depends_on_order(filled),
            )
        )
    return tuple(entries)


def _filled(cls: type[Method], options: dict[str, Any], where: str, regime: str) -> Any:
    """All options of a method in a regime.

    Raises:
        InputError: If one is invalid, or the regime would ignore it.
    """
    filled: Any = configure(cls.Options, options, where)
    cls.check_regime(filled, regime)
    return _without_encoders(filled) if regime == "frozen" else filled


def _without_encoders(options: Any) -> Any:
    """Reset options that only trained encoders use to their defaults: the runs are the same."""
    values = {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}
    trainings = {k: v for k, v in values.items() if isinstance(v, TrainingOptions)}
    changed = {k: dataclasses.replace(v, encoder_rate=1.0) for k, v in trainings.items()}
    return dataclasses.replace(options, **changed)


def _recipe(name: str, folder: Path | None) -> Recipe:
    if folder is not None and not folder.is_dir():
        raise InputError(
            "file-missing", f"--recipes {folder} is not a folder: name one that holds NAME.yaml"
        )
    path = None if folder is None else folder / f"{name}.yaml"
    if path is not None and path.is_file():
        recipe = read_recipe(path)
        if name in METHODS and recipe.method != name:
            raise InputError(
                "conflicting-options",
                f"recipe {path} is for {recipe.method}: rename it, "
                f"because {name} is another method",
            )
        return recipe
    try:
        return default_recipe(name)
    except InputError as error:
        where = "" if folder is None else f" (nor is {path} a file)"
        raise InputError(error.code, f"{error}{where}") from None


def open_stores(config: BenchConfig) -> tuple[BenchStore, ...]:
    """Open the stores.

    Raises:
        InputError: If one is missing, or named twice.
    """
    folders = [folder.resolve() for folder in config.stores]
    if len(set(folders)) < len(folders):
        raise InputError("bad-value", "a store is named twice: name each once")
    tested = [Store.open(folder) for folder in config.test_stores]
    tests: list[Store | None] = [*tested] if tested else [None]
    if len(tests) < len(folders):
        tests *= len(folders)
    return tuple(
        BenchStore(name=name, store=Store.open(folder), test_store=test)
        for name, folder, test in zip(_names(folders), config.stores, tests, strict=True)
    )


def _names(folders: Sequence[Path]) -> list[str]:
    """The folders' names, with enough of the path to make them distinct."""
    for depth in range(1, 1 + max(len(folder.parts) for folder in folders)):
        names = ["-".join(folder.parts[-depth:]).strip("/-") for folder in folders]
        if len(set(names)) == len(names) and ALL_STORES not in names:
            return names
    raise InputError(
        "name-taken", f"stores have no distinct names: rename one of {', '.join(map(str, folders))}"
    )


def backbone_of(config: BenchConfig, entry: Entry, world: BenchStore) -> str:
    """The backbone of a method on a store.

    Raises:
        InputError: If the store holds no suitable tokens, or tokens of several backbones.
    """
    name = config.backbone
    if config.regime != "frozen":
        return name or "small"
    if name is None:
        return fitting_backbone(world.store, entry.method)
    if method_class(entry.method).needs_blocks and not name.endswith(STEM):
        name += STEM
    return name


def identity(
    config: BenchConfig, entries: Sequence[Entry], worlds: Sequence[BenchStore]
) -> dict[str, Any]:
    """All settings that determine the results of a bench, as plain values for ``bench.json``."""
    values = {
        "methods": {entry.name: plain_entry(entry) for entry in entries},
        "stores": {world.name: _prepared(world.store) for world in worlds},
        "test-store": {
            world.name: _prepared(world.test_store) for world in worlds if world.test_store
        },
        "tasks": list(config.tasks),
        "memory": list(config.memories),
        "orders": [config.orders_of(number) for number in config.tasks],
        "seeds": config.num_seeds,
        "only": {name: dataclasses.asdict(part) for name, part in config.only.items()},
        **shared_settings(config),
    }
    if config.keeps_groups:
        values["groups"] = "published"
    plain: dict[str, Any] = json.loads(json.dumps(values))  # JSON has lists, not tuples
    return plain


def shared_settings(config: BenchConfig) -> dict[str, Any]:
    """The run options of all runs that affect the results, by name; backbone None if not given."""
    names = [one.name for one in run_options() if one.affects_results and not one.is_grid_axis]
    return {name: config.settings.get(name, _defaults()[name]) for name in names}


def _defaults() -> dict[str, Any]:
    """The values of run options that a bench did not name or did not know."""
    return {one.name: one.default for one in run_options()} | {"backbone": None}


def _prepared(store: Store) -> dict[str, Any]:
    tokens = {name: store.tokens(name).fingerprint for name in store.backbones}
    return {"list_hash": store.list_hash, "tokens": tokens}


def begin(folder: Path, current: dict[str, Any]) -> None:
    """Record the configuration of a new bench, or check that a resumed one has the same.

    Raises:
        InputError: If the folder holds a bench with a different configuration.
    """
    path = folder / "bench.json"
    if not path.exists():
        write_json(path, {"format": FORMAT, "config": current})
        return
    found = read_json(path, "bench")
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise InputError(
            "wrong-format", f"{path} is not of format {FORMAT}: use another folder for --out"
        )
    config = found.get("config", {})
    for name, value in current.items():
        was = config.get(name, _defaults().get(name))  # an option that was added since
        if was != value and not _is_compatible(name, config, value):
            raise InputError(
                "resume-mismatch",
                f"bench {folder} was begun with {_difference(name, was, value)}: "
                "repeat the original command, or give another --out",
            )
    if config != current:
        write_json(path, {"format": FORMAT, "config": current})


def plain_entry(entry: Entry) -> list[Any]:
    """Method and options of an entry as plain values, in the form of ``bench.json``."""
    more = [] if entry.with_memory is None else [entry.with_memory]
    # JSON has lists, not tuples.
    plain: list[Any] = json.loads(json.dumps([entry.method, entry.options, *more]))
    return plain


def _is_compatible(name: str, begun: dict[str, Any], now: Any) -> bool:
    """Whether the finished runs of a bench remain valid although a setting has changed.

    A bench may gain methods. A method may gain options of a later version at their defaults, since
    the defaults reproduce the earlier behaviour. A store may gain or lose tokens that no run uses;
    then the backbone may have to be named.
    """
    was = begun.get(name)
    if name == "methods" and isinstance(was, dict):
        return all(key in now and now[key] == with_defaults(was[key]) for key in was)
    if name == "only" and isinstance(was, dict):
        # An added method may have its own part; the parts of the others must be unchanged.
        begun_with = {key: value for key, value in now.items() if key in begun.get("methods", {})}
        return bool(begun_with == was)
    if name in ("stores", "test-store") and isinstance(was, dict):
        return list(was) == list(now) and all(_is_same_data(was[key], now[key]) for key in was)
    if name == "backbone" and was is None:
        held = [store["tokens"] for store in begun.get("stores", {}).values()]
        return all({n for n in tokens if not n.endswith(STEM)} == {now} for tokens in held)
    return False


def with_defaults(begun: list[Any]) -> list[Any]:
    """A recorded method and its options, completed by the defaults of options added later."""
    method, *both = begun  # options, and those of runs with exemplars if they differ
    try:
        filled: list[Any] = [
            configure(method_class(method).Options, options, "bench.json") for options in both
        ]
    except InputError:  # an option that no longer exists
        return begun
    return [method, *json.loads(json.dumps([dataclasses.asdict(one) for one in filled]))]


def _is_same_data(was: dict[str, Any], now: dict[str, Any]) -> bool:
    """Whether two states of a store have the same clips and agree on the tokens in both."""
    both = was["tokens"].keys() & now["tokens"].keys()
    same = all(was["tokens"][name] == now["tokens"][name] for name in both)
    return bool(was["list_hash"] == now["list_hash"] and (both or not was["tokens"]) and same)


def _tuples(part: dict[str, Any]) -> dict[str, Any]:
    """A part of the grid read from JSON, with lists converted to tuples."""
    return {key: tuple(x) if isinstance(x, list) else x for key, x in part.items()}


def _difference(name: str, was: Any, now: Any) -> str:
    """Describe a changed setting."""
    if name in ("methods", "stores", "test-store") and isinstance(was, dict):
        if list(was) != list(now):
            return f"--{name} {','.join(was) or 'none'}, not {','.join(now) or 'none'}"
        changed = next(key for key in now if was[key] != now[key])
        kind = "other options of method" if name == "methods" else "other clips or tokens in"
        return f"{kind} {changed}"
    if name == "only":
        written = [
            " ".join(f"{key}:{Part(**_tuples(value))}" for key, value in parts.items()) or "none"
            for parts in (was or {}, now)
        ]
        return f"--only {written[0]}, not {written[1]}"
    shown = [
        ",".join(map(str, value)) if isinstance(value, list) else str(value) for value in (was, now)
    ]
    return f"--{name.replace('_', '-')} {shown[0]}, not {shown[1]}"
