"""What a user asks of a run explicitly; a run that is resumed or branched provides the rest."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

from cign.backbones.registry import resolve_name
from cign.data.store import Store
from cign.data.tasks import TaskSequence
from cign.data.tokens import cache_name, source_of
from cign.errors import InputError
from cign.methods import DEFAULT_METHOD, METHODS, default_recipe, method_class
from cign.runs.configuration import RunConfig, run_options
from cign.runs.training_data import fitting_backbone
from cign.utils.devices import resolve_device
from cign.utils.options import configure, leaves

_MOST_SHOWN = 3  # classes of a task in a message


@dataclass(frozen=True, kw_only=True)
class Request:
    """The explicitly given part of a configuration.

    Attributes:
        method: Name of the method; None takes `DEFAULT_METHOD`, or that of the earlier run.
        options: Options of the method; None takes its recipe, or those of the earlier run.
        settings: Given run options by name; the others have their defaults, or the values of the
            earlier run.
    """

    method: str | None
    options: Mapping[str, Any] | None
    settings: Mapping[str, Any]

    @classmethod
    def of(
        cls, method: str | None, options: Mapping[str, Any] | None, settings: Mapping[str, Any]
    ) -> Request:
        """A request without the run options that are None.

        Raises:
            TypeError: If a run option is unknown.
        """
        names = [one.name for one in run_options()]
        for name in settings:
            if name not in names:
                near = difflib.get_close_matches(name, names, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(names)}"
                raise TypeError(f"unexpected keyword argument {name!r}{hint}")
        given = {name: value for name, value in settings.items() if value is not None}
        return cls(method=method, options=options, settings=given)

    def new(self) -> RunConfig:
        """The configuration of a new run, without tasks; its device is one of this machine.

        Raises:
            InputError: If a name or a value is invalid.
        """
        name = self.method or DEFAULT_METHOD
        cls = method_class(name)
        recipe = self.options
        if recipe is None:
            recipe = default_recipe(name).options_for(self.settings.get("memory"))
        filled: Any = configure(cls.Options, recipe, f"recipe of {name}")
        config = RunConfig.of(
            METHODS.reference(cls),
            options=dataclasses.asdict(filled),
            **{**self.settings, "device": resolve_device(self.settings.get("device"))},
        )
        cls.check_regime(filled, config.data.regime)
        return config

    def on_store(self, store: Store, tasks: int | TaskSequence, order: int) -> RunConfig:
        """The configuration of a new run, with its tasks and the backbone of its tokens.

        Args:
            store: The store that it is trained on.
            tasks: Number of tasks, or the tasks themselves.
            order: Class-order seed.

        Raises:
            InputError: If a name or a value is invalid or does not match the store.
        """
        config = self.new()
        if not isinstance(tasks, TaskSequence):
            tasks = config.arrival.cut(store.class_names, tasks, order)
        given = "backbone" in self.settings
        if given:
            config = config.with_settings(backbone=resolve_name(config.data.backbone))
        if config.data.regime == "frozen":
            name = config.data.backbone if given else fitting_backbone(store, config.method)
            config = config.with_settings(backbone=source_of(store.tokens(name).info))
        return dataclasses.replace(config, tasks=tasks.groups, order=order)

    def resumed(
        self, saved: RunConfig, run: Path, tasks: int | TaskSequence | None, order: int | None
    ) -> RunConfig:
        """The saved configuration of a run, on the requested device.

        Args:
            saved: The saved configuration.
            run: Folder of the run.
            tasks: Given number of tasks or tasks, if any.
            order: Given class order, if any.

        Raises:
            InputError: If a given value that affects the results differs from the saved one.
        """
        differences = chain(  # lazily: only a run of the same method has these options
            self._differing_method(saved),
            _differing_tasks(saved, tasks, order),
            self._differing_options(saved),
            self._differing_settings(saved),
        )
        for name, was, now in differences:
            raise InputError(
                "resume-mismatch",
                f"run {run} was started with {name} {was}, not {now}, and resuming cannot change "
                f"it: leave {name} out, or start a new run in another folder",
            )
        return saved.on(self.settings.get("device"))

    def completed(self, parent: RunConfig, run: Path) -> Request:
        """The request for a run that branches from another: what is not given is as in that run.

        Args:
            parent: Configuration of the run that is branched from.
            run: Its folder.

        Raises:
            InputError: If another method is given.
        """
        for name, was, now in self._differing_method(parent):
            raise InputError(
                "resume-mismatch",
                f"run {run} was trained with {name} {was}, not {now}, and a branch cannot change "
                f"it: leave {name} out, or start a new run",
            )
        known = {
            one.name: parent.settings[one.name] for one in run_options() if one.affects_results
        }
        return Request(
            method=parent.method,
            options=parent.options if self.options is None else self.options,
            settings=known | dict(self.settings),
        )

    def _differing_method(self, saved: RunConfig) -> Iterator[tuple[str, Any, Any]]:
        """The method, if it is given and differs."""
        if self.method is not None:
            now = METHODS.reference(method_class(self.method))
            if now != saved.method:
                yield "method", saved.method, now

    def _differing_options(self, saved: RunConfig) -> Iterator[tuple[str, Any, Any]]:
        """The given options of the method that differ, with saved and given value."""
        if self.options is None:
            return
        options = method_class(saved.method).Options
        was, now = (
            leaves(dataclasses.asdict(configure(options, values, f"recipe of {saved.method}")))
            for values in (saved.options, self.options)
        )
        yield from ((name, was.get(name), now[name]) for name in now if was.get(name) != now[name])

    def _differing_settings(self, saved: RunConfig) -> Iterator[tuple[str, Any, Any]]:
        """The given run options that differ although they affect the results."""
        known, given = saved.settings, saved.with_settings(**self.settings).settings
        for one in run_options():
            if one.name not in self.settings or not one.affects_results:
                continue
            was, now = known[one.name], given[one.name]
            if one.name == "backbone":  # a name may be short or in full
                was, now = cache_name(was), cache_name(resolve_name(now))
            if was != now:
                yield one.name, was, now


def _differing_tasks(
    saved: RunConfig, tasks: int | TaskSequence | None, order: int | None
) -> Iterator[tuple[str, Any, Any]]:
    """The tasks and the class order, if they are given and differ."""
    if isinstance(tasks, int) and tasks != len(saved.tasks):
        yield "tasks", len(saved.tasks), tasks
    if isinstance(tasks, TaskSequence) and tasks.groups != saved.tasks:
        pairs = enumerate(zip_longest(saved.tasks, tasks.groups, fillvalue=()), 1)
        number, (was, now) = next((i, pair) for i, pair in pairs if pair[0] != pair[1])
        yield "tasks", f"{_shown(was)} as task {number}", _shown(now)
    if order is not None and order != saved.order:
        yield "order", saved.order, order


def _shown(names: tuple[str, ...]) -> str:
    """The classes of a task as text, at most three of them."""
    more = ", ..." if len(names) > _MOST_SHOWN else ""
    return f"({', '.join(names[:_MOST_SHOWN])}{more})" if names else "none"
