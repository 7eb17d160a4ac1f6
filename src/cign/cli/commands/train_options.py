"""Options of `cign train` for a new run, a resumed run, or a run branched from another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cign.errors import InputError

if TYPE_CHECKING:
    from cign.runs.configuration import RunConfig


def recipe_of(options: Any) -> tuple[str | None, dict[str, Any] | None]:
    """Method and its options; None for what is not given.

    Settings of --set change the recipe file or, without one, the options of the run that is resumed
    or branched from, or else the method's own recipe.
    """
    method, recipe = _recipe_file(options)
    if options.set:
        from cign.utils.options import with_settings

        if recipe is None:
            method, recipe = _method_to_change(options)
        recipe = with_settings(recipe, options.set)
    return method, recipe


def _method_to_change(options: Any) -> tuple[str | None, dict[str, Any]]:
    """The method whose options --set changes without a recipe file, and these options."""
    from cign.methods import DEFAULT_METHOD, default_recipe

    saved = _saved(options)
    if saved is not None:
        return options.method or saved.method, dict(saved.options)
    recipe = default_recipe(options.method or DEFAULT_METHOD)
    return options.method, recipe.options_for(options.memory)


def _saved(options: Any) -> RunConfig | None:
    """The configuration of the run that is resumed or branched from."""
    from cign.runs.branching import Branch
    from cign.runs.configuration import RunConfig

    if options.branch_from is not None:
        return Branch.parse(options.branch_from).config
    return RunConfig.load(options.out) if options.resume else None


def _recipe_file(options: Any) -> tuple[str | None, dict[str, Any] | None]:
    """Method and options of --method and --recipe; options is None without a recipe file."""
    if options.recipe is None:
        return options.method, None
    from cign.utils.options import read_recipe

    recipe = read_recipe(options.recipe)
    if options.method not in (None, recipe.method):
        raise InputError(
            "conflicting-options",
            f"--method is {options.method} but recipe {options.recipe} is for {recipe.method}: "
            "leave one of them out",
        )
    memory = options.memory
    if memory is None and (saved := _saved(options)) is not None:
        memory = saved.exemplars.memory
    return recipe.method, recipe.options_for(memory)


def check_tasks_named(options: Any) -> None:
    """Refuse a new run with both --tasks and --task-file.

    Raises:
        InputError: If both are given.
    """
    continues = options.resume or options.branch_from is not None
    if continues or options.benchmark is not None:
        return
    if options.tasks is not None and options.task_file is not None:
        raise InputError(
            "conflicting-options",
            f"--tasks {options.tasks} and --task-file {options.task_file} both define the tasks: "
            "leave one of them out",
        )


def tasks_of(options: Any) -> Any:
    """The number of tasks, or the tasks of a file or a benchmark; None if not given."""
    if options.benchmark is not None:
        return _benchmark_tasks(options)
    if options.task_file is None:
        return options.tasks
    from cign.data.store import Store
    from cign.data.tasks import read_task_file

    names = Store.open(options.store).class_names
    return read_task_file(options.task_file, names, options.order or 0)


def _benchmark_tasks(options: Any) -> Any:
    """A benchmark's tasks. Also sets the memory of a new run unless --memory is given."""
    from cign.data.benchmarks import load_benchmark, published_tasks
    from cign.data.store import Store

    if options.task_file is not None:
        raise InputError(
            "conflicting-options",
            "--benchmark and --task-file both define the tasks: leave one out",
        )
    benchmark = load_benchmark(options.benchmark)
    number = benchmark.choose_tasks(options.tasks)
    names = Store.open(options.store).class_names
    benchmark.check_classes(len(names), f"store {options.store}")
    if options.memory is None and not options.resume:
        options.memory = benchmark.tasks[number]
    if benchmark.keeps_groups:
        return published_tasks(names, number, options.order or 0)
    return number


def check_branch(options: Any) -> None:
    """Refuse options that do not go with --branch-from.

    Raises:
        InputError: With the first of them.
    """
    if options.branch_from is None:
        return
    if options.resume:
        raise InputError(
            "conflicting-options",
            "--resume continues the run in --out, --branch-from starts a new one: leave one out",
        )
    for name in ("tasks", "benchmark", "order"):
        if options[name] is not None:
            raise InputError(
                "conflicting-options",
                f"--{name} cannot differ from the run that is branched from: leave it out; later "
                "tasks may differ, with --task-file",
            )
