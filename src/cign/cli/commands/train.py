"""`cign train STORE --out RUN`: one run, from the first task to the report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cign.cli.arguments import (
    CommandParser,
    add_benchmark,
    path,
    seconds,
    whole,
)
from cign.cli.run_options import (
    add_log_options,
    add_run_options,
    given_callbacks,
    given_run_options,
)
from cign.errors import Interrupted, RunError
from cign.runs.configuration import RunConfig, run_options
from cign.utils.terminal import make_progress, note, percent, say, show_device, show_table

SUMMARY = "Train a model on the classes of a store, in one or several tasks, into a run folder."
EXAMPLE = """\
cign train work/store --out work/run
cign train work/store --out work/joint --method joint --tasks 4"""
GO_ON = "run the same command with --resume"
MODALITY_NAMES = {"audio": "audio", "visual": "visual", "audio_visual": "audio-visual"}


def add_options(parser: CommandParser) -> None:
    """Declare the arguments."""
    parser.add_argument("store", metavar="STORE", type=path, help="store made by `cign prepare`")
    parser.add_argument(
        "--out", metavar="RUN", type=path, required=True, help="folder of the run (required)"
    )
    parser.add_argument(
        "--method", metavar="NAME", help="method (default: cign_analytic, or that of the recipe)"
    )
    parser.add_argument(
        "--recipe",
        metavar="FILE",
        type=path,
        help="YAML file of options (default: the method's own)",
    )
    parser.add_argument(
        "--set",
        metavar="NAME=VALUE",
        action="append",
        help="change one option of the recipe, for example training.schedule=cosine; may be "
        "repeated",
    )
    parser.add_argument(
        "--tasks",
        metavar="T",
        type=whole(1),
        help="split the classes into T tasks (default: 1)",
    )
    parser.add_argument(
        "--task-file", metavar="FILE", type=path, help="JSON or YAML list of lists of class names"
    )
    add_benchmark(parser, "tasks and memory")
    parser.add_argument(
        "--order",
        metavar="K",
        type=whole(0),
        help="seed of the class order; 0 (default) is the order of the data",
    )
    add_run_options(parser, run_options())
    add_log_options(parser)
    parser.add_argument(
        "--resume", action="store_true", help="resume the run in --out; the result is bit-exact"
    )
    parser.add_argument(
        "--branch-from",
        metavar="RUN@TASK",
        help="start from the state of a run after one of its tasks; --recipe, --set, --seed and "
        "later tasks (--task-file) may differ; the run needs states saved by --keep-tasks",
    )
    parser.add_argument(
        "--keep-tasks",
        action="store_true",
        help="save the state after each task in the run folder, for --branch-from",
    )
    parser.add_argument(
        "--processes",
        metavar="N",
        type=whole(1),
        help="require exactly N processes, started by torchrun",
    )
    parser.add_argument(
        "--peer-timeout",
        metavar="S",
        type=seconds,
        help="with several processes: seconds to wait for another process (default: 600)",
    )


def run(options: Any) -> None:
    """Train and show the metrics; with several processes only rank 0 shows them."""
    from cign.cli.commands.train_options import check_tasks_named
    from cign.data.store import read_info

    check_tasks_named(options)
    given_callbacks(options)
    read_info(options.store)
    from cign.training.callbacks import StopRun  # slow import

    try:
        _run(options)
    except StopRun as reason:
        why = f" ({reason})" if str(reason) else ""
        raise RunError(
            "stopped",
            f"a callback ended the run{why}: {options.out} holds its last checkpoint, from which "
            "--resume goes on",
        ) from None
    except KeyboardInterrupt as interrupt:
        begun = (options.out / "config.yaml").exists()
        how = GO_ON if begun else "run the same command again"
        if begun and options.branch_from is not None:
            how = f"{GO_ON} instead of --branch-from"
        kept = getattr(interrupt, "kept", "nothing has been learned since the start")
        raise Interrupted(kept, how) from None


def _run(options: Any) -> None:
    from cign.training.distributed.processes import joined  # slow import

    with joined(options.processes, options.peer_timeout, options.device) as comm:
        if not comm.is_alone and comm.is_first:
            note(f"{comm.size} processes share every batch")
        learner = _learn(options, comm.is_first)
    if comm.is_first:
        _show(learner, options.out)


def _learn(options: Any, is_first: bool) -> Any:
    """Train as the options specify, and return the learner."""
    from cign.cli.commands.train_options import check_branch, recipe_of, tasks_of
    from cign.learner import Learner
    from cign.utils.progress import Silent

    check_branch(options)
    tasks = tasks_of(options)  # also sets the memory of a benchmark, which recipes depend on
    method, recipe = recipe_of(options)
    given = given_run_options(options, run_options())
    learner = Learner(method, options=recipe, **given)
    if is_first:
        resumed = RunConfig.load(options.out).on(options.device) if options.resume else None
        show_device((resumed or learner.config).compute.device)
    learner.learn(
        options.store,
        tasks=tasks,
        order=options.order,
        out=options.out,
        resume=options.resume,
        branch_from=options.branch_from,
        keep_tasks=options.keep_tasks,
        callbacks=given_callbacks(options),
        log_every=options.log_every,
        progress=make_progress() if is_first else Silent(),
    )
    return learner


def _show(learner: Any, out: Path) -> None:
    """Write the report of a finished run and show its metrics."""
    from cign.methods.capabilities import selection_in_words
    from cign.report import write_report

    page = out / "report.html"
    write_report([out], page)
    show_results(learner.metrics)
    estimates = learner.model.estimates
    for one in estimates:
        begin = f"task {one.task}: " if len(estimates) > 1 else ""
        say(f"{begin}{one}", fit=True)
    selected = selection_in_words(learner.model.method)
    if selected:
        note(f"selected: {selected}")
    say(f"run {out}, model {out / 'model'}, report {page}")


def show_results(metrics: dict[str, Any]) -> None:
    """Show the metrics of a run; for a single task only the accuracy."""
    from cign.metrics.classes import percent_interval

    modalities = metrics["modalities"]
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
    if num_clips and (online := metrics.get("online")):
        show_table(
            ("percent", "area under the curve of accuracy over clips"),
            (
                (MODALITY_NAMES[modality], percent(numbers["auc_online"]))
                for modality, numbers in online["modalities"].items()
            ),
        )
    if num_clips and (few_shot := metrics.get("few_shot")):
        names = tuple(few_shot["definitions"])
        show_table(
            ("percent", "base classes", "new classes", "harmonic mean"),
            (
                (MODALITY_NAMES[modality], *(percent(numbers[name]) for name in names))
                for modality, numbers in few_shot["modalities"].items()
            ),
        )
    if num_clips and metrics.get("limit") is not None:
        note(f"best possible on these clips: {metrics['limit']:g} %")


def show_accuracy(modalities: Mapping[str, Mapping[str, Any]]) -> None:
    """Show the accuracy of each modality with its interval, or mean average precision.

    Args:
        modalities: ``measure``, ``value`` in percent and ``interval`` of each; the interval is
            not shown for mean average precision.
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
    """The bounds of an interval in percent."""
    return None if low is None or high is None else f"{low:.1f} to {high:.1f}"
