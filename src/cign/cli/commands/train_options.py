"""Options of `cign train` for a new run, a resumed run, or a run branched from another."""

from __future__ import annotations

from typing import Any

from cign.errors import InputError


def recipe_of(
    options: Any, base: dict[str, Any] | None = None
) -> tuple[str, dict[str, Any] | None]:
    """Method and options, with the settings of --set.

    Args:
        options: Options of the command.
        base: What --set changes without a recipe file; the method's own recipe by default.

    Returns:
        Options are None without a recipe file and settings: the method's own recipe.
    """
    method, recipe = _recipe_file(options)
    if options.set:
        from cign.methods import default_recipe
        from cign.utils.options import with_settings

        if recipe is None:
            recipe = default_recipe(method).options if base is None else base
        recipe = with_settings(recipe, options.set)
    return method, recipe


def _recipe_file(options: Any) -> tuple[str, dict[str, Any] | None]:
    """Method and options of --method and --recipe; options is None without a recipe file."""
    if options.recipe is None:
        from cign.methods import DEFAULT_METHOD

        return options.method or DEFAULT_METHOD, None
    from cign.utils.options import read_recipe

    recipe = read_recipe(options.recipe)
    if options.method not in (None, recipe.method):
        raise InputError(
            f"--method is {options.method} but recipe {options.recipe} is for {recipe.method}: "
            "leave one of them out"
        )
    return recipe.method, recipe.options


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
            f"--tasks {options.tasks} and --task-file {options.task_file} both define the tasks: "
            "leave one of them out"
        )


def tasks_of(options: Any) -> Any:
    """The number of tasks (1 by default), or the tasks of a file or a benchmark."""
    if options.benchmark is not None:
        return _benchmark_tasks(options)
    if options.task_file is None:
        return options.tasks or 1
    from cign.data.store import Store
    from cign.data.tasks import read_task_file

    names = Store.open(options.store).class_names
    return read_task_file(options.task_file, names, options.order or 0)


def _benchmark_tasks(options: Any) -> Any:
    """A benchmark's tasks. Also sets the benchmark's memory unless --memory is given."""
    from cign.data.benchmarks import load_benchmark, published_tasks
    from cign.data.store import Store

    if options.task_file is not None:
        raise InputError("--benchmark and --task-file both define the tasks: leave one out")
    benchmark = load_benchmark(options.benchmark)
    number = benchmark.choose_tasks(options.tasks)
    names = Store.open(options.store).class_names
    benchmark.check_classes(len(names), f"store {options.store}")
    if options.memory is None:
        options.memory = benchmark.tasks[number]
    if benchmark.keeps_groups:
        return published_tasks(names, number, options.order or 0)
    return number


def branched(options: Any) -> tuple[Any, Any]:
    """A learner configured like the parent run, with the options that may differ, and the tasks."""
    from cign.learner import Learner
    from cign.runs.branching import Branch

    config = Branch.parse(options.branch_from).config
    for name in ("tasks", "benchmark", "order", "memory", "regime", "backbone"):
        if options[name] is not None:
            raise InputError(
                f"--{name} cannot differ from the run that is branched from: leave it out; only "
                "--recipe, --set, --seed and --task-file may differ"
            )
    if options.method not in (None, config.method):
        raise InputError(
            f"--method is {options.method}, but run {options.branch_from} uses {config.method}: "
            "leave it out"
        )
    options.method = config.method
    _, recipe = recipe_of(options, config.options)
    learner = Learner(
        config.method,
        options=config.options if recipe is None else recipe,
        regime=config.regime,
        backbone=config.backbone,
        memory=config.memory,
        selection=config.selection,
        seed=config.seed if options.seed is None else options.seed,
        allow_missing=config.allow_missing,
        bf16=config.bf16,
        device=options.device,
    )
    return learner, 1 if options.task_file is None else tasks_of(options)


def begun(options: Any) -> Any:
    """A learner with the saved configuration of a run; given options must agree with it."""
    from cign.learner import Learner
    from cign.runs.configuration import RunConfig

    config = RunConfig.load(options.out)
    if options.set and options.recipe is None:
        options.method = options.method or config.method
    method, recipe = recipe_of(options) if options.method or options.recipe else (None, None)
    learner = Learner(
        config.method, options=config.options, regime=config.regime, device=options.device
    )
    learner.config = config.on(options.device)
    known = {"tasks": len(config.tasks), "method": config.method}
    known |= {name: getattr(config, name) for name in ("order", "seed", "memory", "regime")}
    asked = {name: options[name] for name in known if options[name] is not None}
    for name in ("allow_missing", "bf16"):
        if options[name]:
            flag = name.replace("_", "-")
            known[flag], asked[flag] = getattr(config, name), True
    if method is not None:
        asked["method"] = method
    if options.backbone is not None:
        from cign.backbones.registry import resolve_name
        from cign.data.tokens import cache_name

        known["backbone"] = cache_name(config.backbone)
        asked["backbone"] = cache_name(resolve_name(options.backbone))
    if options.benchmark is not None:
        named = _benchmark_tasks(options)
        groups = config.tasks if isinstance(named, int) else named.groups
        number = named if isinstance(named, int) else len(groups)
        same = (number, groups) == (len(config.tasks), config.tasks)
        known["benchmark"], asked["benchmark"] = (
            options.benchmark if same else "",
            options.benchmark,
        )
    if options.task_file is not None:
        known["task-file"], asked["task-file"] = config.tasks, tasks_of(options).groups
    if recipe is not None:
        complete = Learner(config.method, options=recipe, regime=config.regime).config.options
        given = "set" if options.set else "recipe"
        known[given], asked[given] = config.options, complete
    for name, value in asked.items():
        if known[name] != value:
            was = "another" if name in ("recipe", "set", "task-file") else known[name]
            how = f"without --{name}" if was is False else f"with --{name} {was}"
            raise InputError(
                f"run {options.out} was started {how}, which --resume cannot change: leave "
                f"--{name} out, or start a new run in another folder"
            )
    return learner
