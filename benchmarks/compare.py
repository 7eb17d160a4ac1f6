"""Make the runs of a comparison table, and write its page.

    python benchmarks/compare.py real_table            or: make real-table
    python benchmarks/compare.py real_table --minutes 60      stop after an hour; repeat to continue
    python benchmarks/compare.py real_table --now analytic    only the runs of some methods
    python benchmarks/compare.py real_table --plan            time one run of each kind
    python benchmarks/compare.py real_table --publish         only archive, and write the page

    python benchmarks/compare.py real_table --row my_module:MyMethod@5/class --out FOLDER

The last adds a method of your own, with an optional memory, to every table. Tables are defined in
``comparisons.py``. Writes ``NAME.md``, ``NAME.csv`` and ``NAME.tex`` in ``benchmarks/results`` or
in FOLDER, also of a part of the runs. Each finished run is a file in ``WORK/runs``;
all of them are archived in ``benchmarks/results/runs/NAME.tar.xz``, from which they are restored.
Runs of a method whose options have changed are made again; those of changed code are not: delete
their files, and the page states the commits.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from compare_jobs import Comparison, Job, Row
from compare_page import Runs, page
from compare_runs import is_current, make_run, run_file
from compare_stores import SHARED
from comparisons import COMPARISONS
from kept_runs import pack, unpacked

from cign.data.exemplar_memory import MemoryBudget
from cign.errors import InputError, one_of
from cign.methods import method_class
from cign.utils.files import read_json, write_json, write_text
from cign.utils.pool import Program, run_tasks

HERE = Path(__file__).parent
RESULTS = HERE / "results"
PROGRAM = (sys.executable, str(HERE / "compare_runs.py"))
TIMED_SHOTS = 5
Seconds = dict[str, float]


def archive_of(comparison: Comparison) -> Path:
    """The archive of the runs of a comparison."""
    return RESULTS / "runs" / f"{comparison.name}.tar.xz"


def restore(work: Path, comparison: Comparison) -> None:
    """Copy archived runs that are not in the work folder."""
    folder = work / "runs"
    folder.mkdir(parents=True, exist_ok=True)
    with unpacked(archive_of(comparison)) as archived:
        for file in archived.glob("*.npz"):
            if not (folder / file.name).exists():
                shutil.copyfile(file, folder / file.name)


def archive(work: Path, comparison: Comparison) -> None:
    """Archive the finished runs of a comparison, without those of changed options."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for job in comparison.jobs():
            if is_current(run_file(work, job), job):
                shutil.copyfile(run_file(work, job), folder / f"{job.name}.npz")
        if any(folder.iterdir()):
            pack(folder, archive_of(comparison))


def kind_of(job: Job) -> str:
    """Runs of a kind take about as long as each other."""
    backbone = SHARED.get(job.table.backbone, job.table.backbone)
    clips = "few" if job.table.shots else "all"
    kind = job.table.dataset.replace("_", "-").partition("-")[0]
    tasks = job.table.num_tasks
    return f"{backbone} {kind} {tasks} {clips} {job.row.name} {job.row.memory}"


def known_seconds(work: Path, runs: Runs) -> Seconds:
    """Mean processor time of a run, by kind, from finished runs or else from ``plan.json``."""
    path = work / "plan.json"
    known: Seconds = read_json(path, "times of runs") if path.is_file() else {}
    total, count = Counter[str](), Counter[str]()
    for job in runs.comparison.jobs():
        if job.name in runs.kept:
            total[kind_of(job)] += runs.kept[job.name].record["cpu_seconds"]
            count[kind_of(job)] += 1
    return known | {kind: total[kind] / count[kind] for kind in count}


def make_runs(
    todo: Sequence[Job],
    work: Path,
    seconds: Seconds,
    *,
    minutes: float | None = None,
    num_workers: int = 2,
) -> dict[str, str]:
    """Make runs in parallel processes of one thread; each process makes many.

    Args:
        todo: The runs, in this order.
        work: Folder of stores and runs.
        seconds: Expected time of a run, by kind.
        minutes: Begin no run that would end later than this; None for no limit.
        num_workers: Number of processes.

    Returns:
        Why runs failed, by name.
    """
    deadline = None if minutes is None else time.time() + 60 * minutes
    tasks = [
        {
            "job": job.plain(),
            "work": str(work),
            "deadline": deadline,
            "expected_s": seconds.get(kind_of(job), 0.0),
        }
        for job in todo
    ]
    program = Program(command=PROGRAM, num_threads=1, log=work / "workers.log")
    failed: dict[str, str] = {}
    done = 0
    for ending in run_tasks(tasks, lambda task: program, num_workers=num_workers, reuse=True):
        name, answer = Job.of(ending.task["job"]).name, ending.answer
        if answer is None:
            failed[name] = f"its process ended ({ending.signal or ending.exit_code})"
        elif "failed" in answer:
            failed[name] = answer["failed"]
        elif "seconds" in answer:
            done += 1
            print(f"{done}/{len(todo)} {name}: {answer['seconds']:.1f} s", flush=True)
    for name, why in failed.items():
        print(f"failed: {name}: {why}", flush=True)
    return failed


def measure(work: Path, jobs: Sequence[Job]) -> Seconds:
    """Time one run of each kind; the runs themselves are not kept."""
    path = work / "plan.json"
    known: Seconds = read_json(path, "times of runs") if path.is_file() else {}

    def is_less_typical(job: Job) -> tuple[bool, bool, int]:
        few = job.table.shots not in (None, TIMED_SHOTS)
        return few, job.table.dataset != "real24_clutter", job.order

    for job in sorted(jobs, key=is_less_typical):
        if kind_of(job) not in known:
            known[kind_of(job)] = make_run(job, work).record["cpu_seconds"]
            print(f"{kind_of(job)}: {known[kind_of(job)]:.1f} s", flush=True)
            write_json(path, known)
    return known


def estimate(jobs: Sequence[Job], seconds: Seconds, num_workers: int) -> str:
    """Time that runs are expected to take, by kind and in total."""
    counts = Counter(kind_of(job) for job in jobs)
    lines = [f"{'encoders, data, tasks, clips, method, memory':52} runs      s  minutes"]
    for kind, count in counts.items():
        each = seconds.get(kind)
        known = "      ?        ?" if each is None else f"{each:7.1f} {each * count / 60:8.1f}"
        lines.append(f"{kind:52} {count:4} {known}")
    total = sum(seconds.get(kind, 0.0) * count for kind, count in counts.items())
    unknown = sum(count for kind, count in counts.items() if kind not in seconds)
    more = f", without {unknown} runs of unknown time" if unknown else ""
    hours = total / 3600
    lines.append(
        f"{len(jobs)} runs: {hours:.1f} hours of one core, {hours / num_workers:.1f} hours with "
        f"{num_workers} workers{more}"
    )
    return "\n".join(lines)


def publish(work: Path, comparison: Comparison, folder: Path) -> None:
    """Write the page, and its tables as CSV and in LaTeX."""
    folder.mkdir(parents=True, exist_ok=True)
    for suffix, text in page(Runs.read(comparison, work)).items():
        write_text(folder / f"{comparison.name}.{suffix}", text)


def chosen(
    jobs: Sequence[Job], now: str = "", parts: str = "", data: str = "", backbones: str = ""
) -> list[Job]:
    """The runs of some methods, parts, data and encoders, each separated by commas; empty: all.

    Raises:
        InputError: If a name is unknown.
    """
    chosen = list(jobs)
    for given, option, of_job in (
        (now, "--now", lambda job: job.row.name),
        (parts, "--parts", lambda job: str(job.part)),
        (data, "--data", lambda job: job.table.dataset),
        (backbones, "--backbones", lambda job: job.table.backbone),
    ):
        names, known = [name for name in given.split(",") if name], {of_job(job) for job in jobs}
        for name in names:
            if name not in known:
                raise one_of(name, sorted(known), f"name in {option}")
        chosen = [job for job in chosen if not names or of_job(job) in names]
    return chosen


def with_rows(comparison: Comparison, texts: Sequence[str]) -> Comparison:
    """A comparison with further methods in every table.

    Args:
        comparison: The comparison.
        texts: Methods as ``NAME`` or ``module:Class``, with ``@MEMORY`` if they have exemplars.

    Raises:
        InputError: If a method or a memory is invalid, or a row is there already.
    """
    rows = []
    for text in texts:
        method, _, memory = text.partition("@")
        row = Row(method=method, memory=memory or "0")
        method_class(row.method)
        MemoryBudget.parse(row.memory)
        if any(row in section.rows for section in comparison.sections):
            raise InputError("name-taken", f"--row {text} is in the tables already: leave it out")
        rows.append(row)
    sections = (replace(one, rows=(*one.rows, *rows)) for one in comparison.sections)
    return replace(comparison, sections=tuple(sections))


def prepare(work: Path, real: Path, jobs: Sequence[Job]) -> None:
    """Prepare the stores of runs."""
    for data, backbone in dict.fromkeys((job.table.data, job.backbone) for job in jobs):
        data.prepare(work, real, backbone)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = Path(os.environ.get("CIGN_REAL") or "work/real")
    parser.add_argument("name", choices=COMPARISONS, help="name of the comparison")
    parser.add_argument("--real", type=Path, default=default, help="folder of the built sets")
    parser.add_argument("--work", type=Path, help="default: work/NAME")
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--now", default="", help="methods, separated by commas")
    parser.add_argument("--parts", default="", help="numbers of folds or datasets, from 0")
    parser.add_argument("--data", default="", help="data of the tables, separated by commas")
    parser.add_argument("--backbones", default="", help="encoders, separated by commas")
    parser.add_argument("--row", action="append", default=[], help="a further method")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the page")
    parser.add_argument("--plan", action="store_true")
    parser.add_argument("--publish", action="store_true")
    arguments: Any = parser.parse_args()
    comparison = with_rows(COMPARISONS[arguments.name], arguments.row)
    if arguments.row and arguments.out == RESULTS:
        parser.error("--row needs --out, since the published page has no further methods")
    work = arguments.work or Path("work") / comparison.name
    failed: dict[str, str] = {}
    restore(work, comparison)
    if not arguments.publish:
        of_options = (arguments.now, arguments.parts, arguments.data, arguments.backbones)
        selected = chosen(comparison.jobs(), *of_options)
        todo = [job for job in selected if not is_current(run_file(work, job), job)]
        try:
            prepare(work, arguments.real, todo)
        except InputError as error:
            raise SystemExit(f"{error}; or name their folder in CIGN_REAL") from None
        if arguments.plan:
            print(estimate(todo, measure(work, todo), arguments.workers))
            return
        seconds = known_seconds(work, Runs.read(comparison, work))
        failed = make_runs(
            todo, work, seconds, minutes=arguments.minutes, num_workers=arguments.workers
        )
    if not arguments.row:
        archive(work, comparison)
    publish(work, comparison, arguments.out)
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
