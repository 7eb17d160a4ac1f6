"""`cign train STORE --out RUN`: one run, from the first task to the report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cign.cli.arguments import (
    CommandParser,
    add_benchmark,
    add_bf16,
    add_device,
    path,
    seconds,
    whole,
)
from cign.errors import InputError, Interrupted
from cign.utils.terminal import make_progress, note, percent, say, show_device, show_table

SUMMARY = "Learn the classes of a store, in one task or several, into a run folder."
EXAMPLE = """\
cign train work/store --out work/run
cign train work/store --out work/joint --method joint --tasks 4"""
GO_ON = "run the same command with --resume"
MODALITY_NAMES = {"audio": "audio", "visual": "visual", "audio_visual": "audio-visual"}


def add_options(parser: CommandParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("store", metavar="STORE", type=path, help="made by `cign prepare`")
    parser.add_argument(
        "--out", metavar="RUN", type=path, required=True, help="folder for the run (required)"
    )
    parser.add_argument("--method", metavar="NAME", help="default: cign_analytic, or the recipe's")
    parser.add_argument(
        "--recipe", metavar="FILE", type=path, help="YAML of options (default: the method's own)"
    )
    parser.add_argument(
        "--tasks",
        metavar="T",
        type=whole(1),
        help="cut the classes into so many tasks (default: 1)",
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
        help="train on clips that lack a modality, too",
    )
    add_bf16(parser)
    add_device(parser)
    parser.add_argument(
        "--resume", action="store_true", help="go on with the run in --out, to the same bits"
    )
    parser.add_argument(
        "--branch-from",
        metavar="RUN@TASK",
        help="begin with the state of a run after one of its tasks, with another --recipe, --seed "
        "or later tasks (--task-file); the run was made with --keep-tasks",
    )
    parser.add_argument(
        "--keep-tasks",
        action="store_true",
        help="keep the state after each task in the run, for --branch-from",
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
    from cign.cli.commands.train_options import check_tasks_named
    from cign.data.store import read_info

    check_tasks_named(options)
    read_info(options.store)
    try:
        _run(options)
    except KeyboardInterrupt as interrupt:
        begun = (options.out / "config.yaml").exists()
        how = GO_ON if begun else "run the same command again"
        if begun and options.branch_from is not None:
            how = f"{GO_ON} instead of --branch-from"
        kept = getattr(interrupt, "kept", "nothing was learned since it was started")
        raise Interrupted(kept, how) from None


def _run(options: Any) -> None:
    from cign.training.distributed.processes import joined  # this and what follows takes seconds

    with joined(options.processes, options.peer_timeout, options.device) as comm:
        if not comm.is_alone and comm.is_first:
            note(f"{comm.size} processes share every batch")
        learner = _learn(options, comm.is_first)
    if comm.is_first:
        _show(learner, options.out)


def _learn(options: Any, is_first: bool) -> Any:
    """The learner that did as the options say."""
    from cign.cli.commands.train_options import begun, branched, recipe_of, tasks_of
    from cign.learner import Learner
    from cign.methods import method_class
    from cign.utils.progress import Silent

    if options.resume:
        if options.branch_from is not None:
            raise InputError(
                "--resume goes on with the run in --out, --branch-from begins one: leave one out"
            )
        learner = begun(options)
        tasks: Any = learner.config.tasks
    elif options.branch_from is not None:
        learner, tasks = branched(options)
    else:
        method, recipe = recipe_of(options)
        tasks = tasks_of(options)
        learner = Learner(
            method,
            options=recipe,
            regime=options.regime or "frozen",
            backbone=options.backbone,
            memory=options.memory or "0",
            seed=options.seed or 0,
            allow_missing=options.allow_missing,
            bf16=options.bf16,
            device=options.device,
        )
    config = learner.config
    if is_first:
        show_device(config.device)
    if is_first and config.memory != "0" and not method_class(config.method).uses_memory:
        note(f"{config.method} keeps no clips: --memory {config.memory} counts as 0")
    learner.learn(
        options.store,
        tasks=tasks,
        order=options.order or 0,
        out=options.out,
        resume=options.resume,
        branch_from=options.branch_from,
        keep_tasks=options.keep_tasks,
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


def show_results(metrics: dict[str, Any]) -> None:
    """Show the named numbers of a run; of a run with one task accuracy alone."""
    from cign.metrics.classes import percent_interval

    modalities = metrics["readings"]
    num_clips = sum((modalities["audio_visual"]["num_test"] or [[]])[-1])
    if num_clips == 0:
        note(
            "no test clips: accuracy was not measured; prepare clips of split test and use "
            "`cign evaluate`"
        )
    elif len(metrics["tasks"]) == 1:
        show_accuracy(
            {
                modality: {
                    "measure": numbers["measure"],
                    "value": numbers["last"],
                    "interval": percent_interval(numbers["last"], num_clips),
                }
                for modality, numbers in modalities.items()
            }
        )
    else:
        names = ("last", "average", "forgetting", "task_mean", "bwt")
        show_table(
            ("percent", "last", "average", "forgetting", "task mean", "BWT"),
            (
                (MODALITY_NAMES[modality], *(percent(numbers[name]) for name in names))
                for modality, numbers in modalities.items()
            ),
        )
    if num_clips and metrics.get("limit") is not None:
        note(f"best possible on these clips: {metrics['limit']:g} %")


def show_accuracy(modalities: Mapping[str, Mapping[str, Any]]) -> None:
    """Show accuracy with its interval for each modality, or mean average precision.

    Args:
        modalities: For each ``measure``, ``value`` in percent, and ``interval``, which is not shown
            for mean average precisions.
    """
    is_map = any(one["measure"] == "map" for one in modalities.values())
    headings = ("", "mean average precision, %" if is_map else "accuracy, %", "95 % interval")
    rows = [
        (MODALITY_NAMES[name], percent(one["value"]), interval(*(one["interval"] or (None, None))))
        for name, one in modalities.items()
    ]
    num_columns = 2 if is_map else 3
    show_table(headings[:num_columns], (row[:num_columns] for row in rows))


def interval(low: float | None, high: float | None) -> str | None:
    """Both ends of an interval in percent."""
    return None if low is None or high is None else f"{low:.1f} to {high:.1f}"
