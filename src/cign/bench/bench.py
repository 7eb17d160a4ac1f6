"""Run a bench from grid to table: make the missing runs and save each result as it finishes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cign.bench.cluster import on_engine
from cign.bench.config import BenchStore, begin, identity, open_stores, read_entries
from cign.bench.grid import BenchConfig
from cign.bench.plan import Plan, PlannedRun, make_plan
from cign.bench.resampling import NUM_DRAWS
from cign.bench.runner import PROGRAM, NoView, Outcome, View
from cign.bench.summary import Summary
from cign.bench.table import as_csv, as_markdown
from cign.bench.worker import FORMAT, RECORD, Job, is_done
from cign.errors import one_of
from cign.metrics.incremental import DEFINITIONS
from cign.runs.record import machine, versions
from cign.tracking.registry import make_callbacks
from cign.utils.cluster import check_engine
from cign.utils.files import read_json, write_json, write_text
from cign.utils.leftovers import held_folder

RUNS = "runs"


@dataclass(frozen=True, kw_only=True)
class BenchResult:
    """Result of a bench.

    Attributes:
        table: Contents of ``table.json``.
        failed: Error message of each failed run, by run name.
    """

    table: dict[str, Any]
    failed: dict[str, str]


def run_bench(
    config: BenchConfig,
    out: Path,
    *,
    num_workers: int | None = None,
    keep_models: bool = True,
    now: Sequence[str] = (),
    engine: str = "local",
    callbacks: Sequence[str] = (),
    log_every: int | None = None,
    view: View | None = None,
    program: Sequence[str] = PROGRAM,
) -> BenchResult:
    """Make all unfinished runs of a grid, and write its tables.

    Args:
        config: The grid.
        out: Output folder: ``bench.json``, ``runs/``, ``table.csv``, ``table.json``, ``table.md``,
            ``report.html``. If the folder holds the same bench, that bench is resumed.
        num_workers: Number of parallel processes, which divide the cores among them. None: one per
            core. 0: all runs in this process.
        keep_models: Whether the models of the runs are saved.
        now: Methods to run this time; the other methods are left for later. Empty: all.
        engine: ``local``, or ``ray`` to start the processes on the machines of a cluster.
        callbacks: Names of loggers and callbacks of every run, as for `Learner.learn`.
        log_every: Steps between the losses that loggers write.
        view: Displays progress.
        program: Command line of a worker process.

    Returns:
        Table and failures. A failed run does not stop the others.

    Raises:
        InputError: If the grid cannot be run, or the folder holds a different bench.
    """
    view = view or NoView()
    check_engine(engine, num_workers)
    make_callbacks(callbacks)  # refuses what no run could log to
    for name in now:
        if name not in config.methods:
            raise one_of(name, config.methods, "method in --now")
    entries, worlds = read_entries(config), open_stores(config)
    plan = make_plan(config, entries, worlds, how_far=lambda name: _how_far(out / RUNS / name))
    with held_folder(out, "bench folder"), on_engine(engine) as (cores, run_jobs):
        num_workers = cores if num_workers is None else num_workers
        summary = Summary(config=config, worlds=worlds, plan=plan, folder=out / RUNS)
        begin(out, identity(config, entries, worlds))
        todo = [
            run
            for run in plan.runs
            if run.name not in summary.results and (not now or run.entry.name in now)
        ]
        threads = None if num_workers == 0 else max(1, cores // num_workers)
        logs = {"callbacks": list(callbacks), "log_every": log_every, "group": out.resolve().name}
        jobs = [{**_job(run, worlds, out, threads, keep_models, config), **logs} for run in todo]
        files = _Files(out, summary, num_workers)
        files.write(intervals=False)
        view.begin(len(summary.results) + len(todo), len(summary.results))
        try:
            for outcome in run_jobs(jobs, num_workers, view, program):
                _record(out / RUNS / outcome.name, outcome)
                summary.add(outcome.name)
                if outcome.error is not None:
                    files.failed[outcome.name] = outcome.error
                files.write(intervals=False)
        finally:
            view.stop()
        table = files.write(intervals=True)
    return BenchResult(table=table, failed=files.failed)


def _how_far(folder: Path) -> int:
    """Progress of a run: 2 if finished, 1 if started, else 0."""
    return 2 if is_done(folder) else int(folder.exists())


def _job(
    run: PlannedRun,
    worlds: Sequence[BenchStore],
    out: Path,
    threads: int | None,
    keep_models: bool,
    config: BenchConfig,
) -> Job:
    """Arguments of `cign.bench.worker.make_run`."""
    world = worlds[run.world]
    test_store = world.test_store
    return {
        "name": run.name,
        "folder": str(out / RUNS / run.name),
        "store": str(world.store.folder),
        "test_store": None if test_store is None else str(test_store.folder),
        "method": run.entry.method,
        "options": run.entry.options_for(run.memory),
        "groups": [list(group) for group in run.groups],
        "order": run.order,
        "settings": run_settings(run, config),
        "threads": threads,
        "keep_model": keep_models,
    }


def run_settings(run: PlannedRun, config: BenchConfig) -> dict[str, Any]:
    """The run options of a run: those of all runs, and those that the grid varies."""
    own = {"seed": run.seed, "memory": run.memory, "backbone": run.backbone}
    return {**config.settings, **own}


def _record(folder: Path, outcome: Outcome) -> None:
    """Record why a run failed in its folder; a finished run has written its own record."""
    if outcome.error is not None:
        record = {
            "error": outcome.error,
            "error_code": outcome.error_code,
            "traceback": outcome.traceback,
        }
        write_json(folder / RECORD, {"format": FORMAT, "status": "failed", **record})
    log = folder / "worker.log"
    if log.exists() and log.stat().st_size == 0:
        log.unlink()


class _Files:
    """Writes the tables in the folder of a bench."""

    def __init__(self, out: Path, summary: Summary, num_workers: int) -> None:
        self.out, self.summary, self.num_workers = out, summary, num_workers
        self.failed: dict[str, str] = {}

    def write(self, *, intervals: bool) -> dict[str, Any]:
        """Write the tables of the runs finished so far; with intervals, also write the report."""
        from cign.report.bench import write_bench_report

        table = self._table(intervals)
        write_text(self.out / "table.csv", as_csv(table["rows"]))
        write_json(self.out / "table.json", table)
        write_text(self.out / "table.md", as_markdown(table))
        if intervals:
            write_bench_report(self.out, self.out / "report.html")
        return table

    def _table(self, intervals: bool) -> dict[str, Any]:
        summary, plan = self.summary, self.summary.plan
        results = summary.results.values()
        recorded = read_json(self.out / "bench.json", "bench")["config"]
        return {
            "format": FORMAT,
            "config": recorded,
            "against": summary.config.against,
            "runs_done": len(summary.results),
            "runs_planned": len(plan.runs),
            "code": summary.code(),
            "stores": self._stores(plan),
            "rows": summary.rows(intervals=intervals),
            "skipped": [dataclasses.asdict(one) for one in plan.skipped],
            "failed": [{"run": name, "error": text} for name, text in self.failed.items()],
            "limit": min((one.limit for one in results if one.limit is not None), default=None),
            "definitions": definitions(summary),
            "workers": self.num_workers,
            "threads": sorted({one.threads for one in results}),
            "versions": versions(),
            "machine": machine(),
        }

    def _stores(self, plan: Plan) -> dict[str, dict[str, Any]]:
        """Training and test clips of each store, and how many runs evaluated the test clips."""
        done = self.summary.results
        return {
            world.name: {
                "list_hash": world.store.list_hash,
                "test_list_hash": world.tested.list_hash,
                "num_train": len(world.store.indices("train")),
                "num_test": len(world.tested.indices("test")),
                "num_classes": len(world.store.class_names),
                "runs": sum(run.world == i and run.name in done for run in plan.runs),
            }
            for i, world in enumerate(self.summary.worlds)
        }


def definitions(summary: Summary) -> dict[str, str]:
    """Definitions of the columns of the table, by name."""
    names = ("seen", "last", "average", "forgetting")
    result = {name: DEFINITIONS[name] for name in names}
    if any(one.measure == "map" for one in summary.results.values()):
        result["map"] = DEFINITIONS["map"]
    num_stores = len(summary.worlds)
    result["\N{PLUS-MINUS SIGN}"] = (
        "standard deviation over stores of their means"
        if num_stores > 1
        else "standard deviation over class orders and seeds, in rows of a single store"
    )
    if summary.config.against is not None:
        result["difference"] = _interval_definition(summary.config.against, num_stores)
    result["stored"] = (
        "bytes stored for old classes: exemplars, statistics of clips, and old tasks' validation "
        "clips, from which closed-form methods set the threshold for unknown classes"
    )
    result["seconds"] = "wall-clock time of a run, with other runs in parallel on the same machine"
    return result


def _interval_definition(against: str, num_stores: int) -> str:
    text = (
        f"mean difference from {against}, class orders and seeds averaged within a store, with "
        f"its 95 % interval: percentiles of {NUM_DRAWS:,} draws with replacement of "
    )
    if num_stores == 1:
        return text + (
            "test clips. With a single store, the interval does not cover variation between "
            "stores, and Student's t interval over stores is not available"
        )
    return text + (
        "stores and, within each, of test clips, or Student's t interval over the stores' "
        "differences (marked t) where it is wider"
    )
