"""`cign bench STORE... --out FOLDER`: compare methods in a table."""

from __future__ import annotations

import argparse
from typing import Any

from cign.cli.arguments import (
    CommandParser,
    add_benchmark,
    add_engine,
    path,
    paths,
    whole,
)
from cign.cli.run_bars import make_run_view
from cign.cli.run_options import (
    add_log_options,
    add_run_options,
    given_callbacks,
    given_run_options,
    shared_run_options,
)
from cign.errors import InputError, RunError
from cign.utils.devices import resolve_device
from cign.utils.terminal import note, percent, say, show_table

SUMMARY = "Compare methods on stores: a parallel grid of runs, a table with intervals and costs."
EXAMPLE = "cign bench work/store --out work/bench --methods cign_analytic,finetune --tasks 4"
GO_ON = "run the same command again"
KEPT = "finished runs are saved, others up to their last checkpoint"
_SHOWN = (
    *("last_audio_visual", "last_audio", "last_visual"),
    *("average_audio_visual", "forgetting_audio_visual"),
)


def names(text: str | list[str]) -> list[str]:
    """A type for comma-separated lists; a list is returned unchanged."""
    parts = text if isinstance(text, list) else [part.strip() for part in str(text).split(",")]
    if not all(parts):
        raise argparse.ArgumentTypeError(f"{text!r} has an empty entry: separate names by commas")
    return parts


def numbers(text: str | list[int]) -> list[int]:
    """A type for comma-separated lists of whole numbers."""
    parse = whole(1)
    return text if isinstance(text, list) else [parse(part) for part in names(text)]


def add_options(parser: CommandParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "stores", metavar="STORE", type=path, nargs="+", help="store made by `cign prepare`"
    )
    parser.add_argument(
        "--out",
        metavar="FOLDER",
        type=path,
        required=True,
        help="folder for runs and tables (required)",
    )
    parser.add_argument(
        "--methods", metavar="A,B", type=names, required=True, help="methods to compare (required)"
    )
    parser.add_argument(
        "--tasks",
        metavar="T,U",
        type=numbers,
        help="numbers of tasks (required without --benchmark)",
    )
    add_benchmark(parser, "numbers of tasks and memory")
    parser.add_argument(
        "--memory",
        metavar="M,N",
        type=names,
        help="exemplar budgets for old classes: in total (120), per class (20/class) or in bytes "
        "(64MB); default: 0, or that of the benchmark",
    )
    parser.add_argument(
        "--orders",
        metavar="N",
        type=numbers,
        default=[1],
        help="class orders 0 to N-1, where 0 is the order of the data; one number, or one for each "
        "of --tasks (default: 1)",
    )
    parser.add_argument(
        "--seeds", metavar="N", type=whole(1), default=1, help="seeds 0 to N-1 (default: 1)"
    )
    parser.add_argument(
        "--only",
        metavar="NAME:KEY=VALUE",
        action="append",
        help="run one method on a part of the grid, for example cign:tasks=4:orders=1, or with "
        "another memory, replay:memory=64MB; keys: tasks, memory, orders, seeds; may be "
        "repeated for other methods",
    )
    parser.add_argument(
        "--against",
        metavar="NAME",
        help="reference method for differences; NAME@MEMORY also selects its memory",
    )
    parser.add_argument(
        "--test-store",
        metavar="STORE",
        action="append",
        help="score the test clips of this store, which must have the same classes; repeat it "
        "once per STORE",
    )
    add_run_options(parser, shared_run_options())
    add_log_options(parser)
    parser.add_argument(
        "--recipes",
        metavar="DIR",
        type=path,
        help="folder of recipes NAME.yaml; a NAME that is not a method is a variant to compare",
    )
    parser.add_argument(
        "--workers", metavar="N", type=whole(1), help="parallel runs (default: one per core)"
    )
    add_engine(parser)
    parser.add_argument(
        "--now",
        metavar="A,B",
        type=names,
        help="run only these methods now and leave the others for a later call",
    )
    parser.add_argument(
        "--no-models", action="store_true", help="save metrics and predictions but no models"
    )


def run(options: Any) -> None:
    """Execute the missing runs and show the table."""
    from cign.bench import BenchConfig, run_bench
    from cign.bench.grid import parse_parts

    tasks, memories, keeps_groups = numbers_of_tasks(options)
    settings = given_run_options(options, shared_run_options())
    config = BenchConfig(
        stores=tuple(options.stores),
        methods=tuple(options.methods),
        tasks=tasks,
        memories=memories,
        keeps_groups=keeps_groups,
        num_orders=tuple(options.orders),
        num_seeds=options.seeds,
        against=options.against,
        test_stores=tuple(paths(options.test_store)),
        settings=settings,
        recipes=options.recipes,
        only=parse_parts(options.only or ()),
    )
    here = resolve_device(options.device) if options.engine == "local" else None
    result = run_bench(
        config,
        options.out,
        num_workers=options.workers,
        keep_models=not options.no_models,
        now=tuple(options.now or ()),
        engine=options.engine,
        callbacks=given_callbacks(options),
        log_every=options.log_every,
        view=make_run_view(here),
    )
    show_comparison(result.table)
    files = ("table.csv", "table.json", "table.md", "report.html")
    say(f"written to {options.out}: {', '.join(files)}")
    if result.failed:
        first, why = next(iter(result.failed.items()))
        more = f" and {len(result.failed) - 1} more" if len(result.failed) > 1 else ""
        raise RunError(
            "process-failed",
            f"{len(result.failed)} of {result.table['runs_planned']} runs failed ({first}: "
            f"{why.rstrip('.')}){more}: the others are done; run the same command again to retry",
        )


def numbers_of_tasks(options: Any) -> tuple[tuple[int, ...], tuple[str, ...], bool]:
    """Numbers of tasks, memory budgets, and whether the tasks are published class groups."""
    if options.benchmark is None:
        if not options.tasks:
            raise InputError(
                "missing-option", "give --tasks T,U, the numbers of tasks, or --benchmark NAME"
            )
        return tuple(options.tasks), tuple(options.memory or ("0",)), False
    from cign.data.benchmarks import load_benchmark
    from cign.data.store import Store

    benchmark = load_benchmark(options.benchmark)
    for folder in options.stores:
        benchmark.check_classes(len(Store.open(folder).class_names), f"store {folder}")
    tasks = tuple(map(benchmark.choose_tasks, options.tasks or (None,)))
    memories = options.memory or list(dict.fromkeys(benchmark.tasks[n] for n in tasks))
    if options.memory is None and len(memories) > 1:
        usual = ", ".join(f"{benchmark.tasks[n]} at {n} tasks" for n in tasks)
        raise InputError(
            "missing-option",
            f"benchmark {options.benchmark} has memory {usual}, but a bench combines every number "
            "of tasks with every memory: give one of --tasks, or --memory for all",
        )
    return tasks, tuple(memories), benchmark.keeps_groups


def show_comparison(table: dict[str, Any]) -> None:
    """Show the rows over all stores, audio-visual first, and the skipped combinations."""
    from cign.bench.table import difference

    against = table["against"]
    head = ["method", "tasks", "memory", "audio-visual", "audio", "visual", "average", "forgetting"]
    head += [f"difference from {against} [95 %]"] if against else []
    rows = []
    for row in table["rows"]:
        if row["store"] != "all":
            continue
        values = row["numbers"]
        cells = [row["method"], row["tasks"], row["memory"]]
        cells += [percent(values[name]["value"]) for name in _SHOWN]
        cells += [difference(values["last_audio_visual"]) or None] if against else []
        rows.append(cells)
    show_table(head, rows)
    if table["limit"] is not None:
        note(f"best possible on these clips: {table['limit']:g} %")
    for one in table["skipped"]:
        note(f"skipped: {one['method']} at memory {one['memory']} ({one['reason']})")
