"""`cign train STORE --out RUN`: one run, from the first task to the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cign.arguments import CommandParser, add_benchmark, add_bf16, path, seconds, whole
from cign.errors import InputError
from cign.terminal import make_progress, note, percent, say, show_table

SUMMARY = "Learn the classes of a store, task after task, into a run folder."
GO_ON = "run the same command with --resume"
READING_NAMES = {"audio": "audio", "visual": "visual", "audio_visual": "audio-visual"}


def add_options(parser: CommandParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("store", metavar="STORE", type=path, help="made by `cign prepare`")
    parser.add_argument(
        "--out", metavar="RUN", type=path, required=True, help="folder for the run (required)"
    )
    parser.add_argument("--method", metavar="NAME", help="default: cign, or the recipe's")
    parser.add_argument(
        "--recipe", metavar="FILE", type=path, help="YAML of options (default: the method's own)"
    )
    parser.add_argument(
        "--tasks", metavar="T", type=whole(1), help="cut the classes into so many tasks"
    )
    parser.add_argument(
        "--task-file", metavar="FILE", type=path, help="JSON or YAML list of lists of class names"
    )
    add_benchmark(parser, "tasks and memory")
    parser.add_argument(
        "--order", metavar="K", type=whole(0), help="class order; 0 (default) is the data's own"
    )
    parser.add_argument(
        "--seed", metavar="S", type=whole(0), help="of weights, shuffling and noise (default: 0)"
    )
    parser.add_argument(
        "--memory",
        metavar="M",
        help="clips kept of old classes: in total (120), per class (20/class) or as bytes (64MB); "
        "default: 0",
    )
    parser.add_argument(
        "--regime",
        metavar="NAME",
        help="frozen (on cached tokens, default) or end-to-end (encoders are trained)",
    )
    parser.add_argument(
        "--backbone",
        metavar="NAME",
        help="whose tokens are read, or which is trained (default: the store's)",
    )
    parser.add_argument(
        "--allow-missing",
        action="store_true",
        help="train on clips that lack sound or picture, too",
    )
    add_bf16(parser)
    parser.add_argument(
        "--resume", action="store_true", help="go on with the run in --out, to the same bits"
    )
    parser.add_argument(
        "--processes",
        metavar="N",
        type=whole(1),
        help="refuse to run unless torchrun has started so many",
    )
    parser.add_argument(
        "--peer-timeout",
        metavar="S",
        type=seconds,
        help="with several processes: seconds to wait for another one (default: 600)",
    )


def run(options: Any) -> None:
    """Learn, and show the numbers; of several processes the first one shows them."""
    from cign.peers import joined

    with joined(options.processes, options.peer_timeout) as peers:
        if not peers.is_alone and peers.is_first:
            note(f"{peers.number} processes share every batch")
        learner = _learn(options, peers.is_first)
    if peers.is_first:
        _show(learner, options.out)


def _learn(options: Any, is_first: bool) -> Any:
    """The learner that did as the options say."""
    from cign.learner import Learner
    from cign.methods import method_class
    from cign.progress import Silent

    if options.resume:
        learner = _begun(options)
        tasks: Any = learner.config.tasks
    else:
        method, recipe = _recipe(options)
        tasks = _tasks(options)
        learner = Learner(
            method,
            options=recipe,
            regime=options.regime or "frozen",
            backbone=options.backbone,
            memory=options.memory or "0",
            seed=options.seed or 0,
            allow_missing=options.allow_missing,
            bf16=options.bf16,
        )
    config = learner.config
    if is_first and config.memory != "0" and not method_class(config.method).uses_memory:
        note(f"{config.method} keeps no clips: --memory {config.memory} counts as 0")
    learner.learn(
        options.store,
        tasks=tasks,
        order=options.order or 0,
        out=options.out,
        resume=options.resume,
        progress=make_progress() if is_first else Silent(),
    )
    return learner


def _show(learner: Any, out: Path) -> None:
    """Write the report of a finished run, and show its numbers."""
    from cign.report import write_report

    page = out / "report.html"
    write_report([out], page)
    show_results(learner.metrics)
    say(f"run {out}, model {out / 'model'}, report {page}")


def _recipe(options: Any) -> tuple[str, dict[str, Any] | None]:
    """Method and options; without a recipe file, those of the method."""
    if options.recipe is None:
        return options.method or "cign", None
    from cign.options import read_recipe

    recipe = read_recipe(options.recipe)
    if options.method not in (None, recipe.method):
        raise InputError(
            f"--method is {options.method} but recipe {options.recipe} is for {recipe.method}: "
            "leave one of them out"
        )
    return recipe.method, recipe.options


def _tasks(options: Any) -> Any:
    """Number of tasks, or the tasks of a file or a benchmark."""
    if options.benchmark is not None:
        return _benchmark_tasks(options)
    if (options.tasks is None) == (options.task_file is None):
        raise InputError(
            "give either --tasks T, which cuts the classes into T tasks, or --task-file FILE, "
            "which names the classes of each, or --benchmark NAME"
        )
    if options.task_file is None:
        return options.tasks
    from cign.data.store import Store
    from cign.data.tasks import read_task_file

    names = Store.open(options.store).class_names
    return read_task_file(options.task_file, names, options.order or 0)


def _benchmark_tasks(options: Any) -> Any:
    """A benchmark's tasks; its memory, too, where none is given."""
    from cign.data.benchmarks import load_benchmark, published_tasks
    from cign.data.store import Store

    if options.task_file is not None:
        raise InputError("--benchmark names the tasks, and so does --task-file: leave one out")
    benchmark = load_benchmark(options.benchmark)
    number = benchmark.choose_tasks(options.tasks)
    names = Store.open(options.store).class_names
    benchmark.check_classes(len(names), f"store {options.store}")
    if options.memory is None:
        options.memory = benchmark.tasks[number]
    if benchmark.keeps_groups:
        return published_tasks(names, number, options.order or 0)
    return number


def _begun(options: Any) -> Any:
    """A learner with the configuration that a run was begun with; options must agree with it."""
    from cign.learner import Learner
    from cign.run_config import RunConfig

    config = RunConfig.load(options.out)
    method, recipe = _recipe(options) if options.method or options.recipe else (None, None)
    learner = Learner(config.method, options=config.options, regime=config.regime)
    learner.config = config
    begun = {"tasks": len(config.tasks), "method": config.method}
    begun |= {name: getattr(config, name) for name in ("order", "seed", "memory", "regime")}
    asked = {name: options[name] for name in begun if options[name] is not None}
    for name in ("allow_missing", "bf16"):
        if options[name]:
            begun[name.replace("_", "-")], asked[name.replace("_", "-")] = (
                getattr(config, name),
                True,
            )
    if method is not None:
        asked["method"] = method
    if options.backbone is not None:
        from cign.data.tokens import cache_name
        from cign.models.backbones import in_full

        begun["backbone"] = cache_name(config.backbone)
        asked["backbone"] = cache_name(in_full(options.backbone))
    if options.benchmark is not None:
        wanted = _benchmark_tasks(options)
        groups = config.tasks if isinstance(wanted, int) else wanted.groups
        number = wanted if isinstance(wanted, int) else len(groups)
        same = (number, groups) == (len(config.tasks), config.tasks)
        begun["benchmark"], asked["benchmark"] = (
            options.benchmark if same else "",
            options.benchmark,
        )
    if options.task_file is not None:
        begun["task-file"], asked["task-file"] = config.tasks, _tasks(options).groups
    if recipe is not None:
        wanted = Learner(config.method, options=recipe, regime=config.regime).config.options
        begun["recipe"], asked["recipe"] = config.options, wanted
    for name, value in asked.items():
        if begun[name] != value:
            was = "another" if name in ("recipe", "task-file") else begun[name]
            how = f"without --{name}" if was is False else f"with --{name} {was}"
            raise InputError(
                f"run {options.out} was begun {how}: --resume keeps that; leave "
                f"--{name} out, or start a new run in another folder"
            )
    return learner


def show_results(metrics: dict[str, Any]) -> None:
    """Show the named numbers of a run."""
    names = ("last", "average", "forgetting", "task_mean", "bwt")
    show_table(
        ("percent", "last", "average", "forgetting", "task mean", "BWT"),
        (
            (READING_NAMES[reading], *(percent(numbers[name]) for name in names))
            for reading, numbers in metrics["readings"].items()
        ),
    )
    if metrics.get("limit") is not None:
        note(f"best possible on these clips: {metrics['limit']:g} %")
