"""The comparison table on real recordings: five folds by source, without the test clips.

    make real-table                     or: CIGN_REAL=FOLDER python benchmarks/real_table.py
    python benchmarks/real_table.py --minutes 60       stop after an hour; repeat to continue
    python benchmarks/real_table.py --now analytic     only the runs of some methods
    python benchmarks/real_table.py --plan             time one run of each method; an estimate
    python benchmarks/real_table.py --publish          only write the page again

Writes ``real_table.md`` and ``real_table.csv`` in ``benchmarks/results``, also of a part of the
runs. Each finished run is a file in ``WORK/runs``; all of them are archived in
``benchmarks/results/runs/real_table.tar.xz``, from which they are restored. Runs of a method whose
options have changed are made again; those of changed code are not: delete their files, and the page
states the commits.
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
from pathlib import Path
from typing import Any

from folds import NUM_FOLDS
from kept_runs import pack, unpacked
from real_table_jobs import (
    MOST_MIN_STEPS,
    NUM_ORDERS,
    NUM_TASKS,
    WIDTH,
    Job,
    Table,
    all_jobs,
    tables,
)
from real_table_page import NUM_DRAWS, Runs, page
from real_table_runs import is_current, make_run, run_file
from real_table_stores import SHARED, prepare_store

from cign.errors import InputError, one_of
from cign.utils.files import read_json, write_json, write_text
from cign.utils.pool import Program, run_tasks

HERE = Path(__file__).parent
RESULTS = HERE / "results"
ARCHIVE = RESULTS / "runs" / "real_table.tar.xz"
PROGRAM = (sys.executable, str(HERE / "real_table_runs.py"))
TIMED_SHOTS = 5
Seconds = dict[str, float]

INTRODUCTION = f"""
`make real-table`

Percent: last accuracy, on `real24_duets` mean average precision. {NUM_TASKS} tasks of six classes,
up to {NUM_ORDERS} class orders, seed 0.

**The test clips of the sets are not read.** Training and validation clips are divided into
{NUM_FOLDS} folds by source: the tested clips of a fold have all their sources in it, the training
clips none. Figures on the test clips that were known before informed the design of `cign_analytic`
and of this comparison, and the folds were used during its development.

- **±**: standard deviation over the folds. **s**: processor time of a run on one core.
- **difference**: audio-visual, in points, on the same clips, class orders averaged within a fold.
  The interval is the wider of a bootstrap over folds and, within them, clips ({NUM_DRAWS:,} draws
  of the clips, 10,000 of the folds) and Student's t over the folds (marked t).
  `benchmarks/results/real_table.csv` has those of all modalities.
- **memory**: exemplars. **stored**: exemplars or, for closed-form methods, statistics of clips.
- `ncm`, `lda`, `logistic`, `kernel`: nearest class mean, shrunk linear discriminant analysis,
  logistic regression and ridge regression with a Gaussian kernel on all classes and clips at once,
  on the mean of the tokens, on mean and maximum, or also on the standard deviation (`statistics`).
  The strength of the regularisation is chosen for each modality on three inner folds by source.
  They do not depend on the class order.
- `joint` is trained on the clips of all tasks so far, in one class order.
- Options are those of the recipes, tuned on generated clips: 20 epochs in batches of 32 for all
  gradient methods. `cign` has at least {MOST_MIN_STEPS} steps per task, not 1,000 as in its recipe,
  to limit the time, and is run in one class order and on two sets. `cign` and the transformer
  trunks have width {WIDTH}. Transformers multiply in bfloat16.
- Few clips: the first of each class in the training clips of a fold, ranked by a hash. With few
  clips and with random encoders only some methods are run, without memory.
"""


def restore(work: Path) -> None:
    """Copy archived runs that are not in the work folder."""
    folder = work / "runs"
    folder.mkdir(parents=True, exist_ok=True)
    with unpacked(ARCHIVE) as archived:
        for file in archived.glob("*.npz"):
            if not (folder / file.name).exists():
                shutil.copyfile(file, folder / file.name)


def archive(work: Path, jobs: Sequence[Job]) -> None:
    """Archive the finished runs of the table, without those of changed options."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for job in jobs:
            if is_current(run_file(work, job), job):
                shutil.copyfile(run_file(work, job), folder / f"{job.name}.npz")
        if any(folder.iterdir()):
            pack(folder, ARCHIVE)


def kind_of(job: Job) -> str:
    """Runs of a kind take about as long as each other."""
    backbone = SHARED.get(job.table.backbone, job.table.backbone)
    clips = "few" if job.table.shots else "all"
    return f"{backbone} {clips} {job.row.method} {job.row.memory}"


def known_seconds(work: Path, runs: Runs, jobs: Sequence[Job]) -> Seconds:
    """Mean processor time of a run, by kind, from finished runs or else from ``plan.json``."""
    path = work / "plan.json"
    known: Seconds = read_json(path, "times of runs") if path.is_file() else {}
    total, count = Counter[str](), Counter[str]()
    for job in jobs:
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
    lines = [f"{'encoders, clips, method, memory':44} runs      s  minutes"]
    for kind, count in counts.items():
        each = seconds.get(kind)
        known = "      ?        ?" if each is None else f"{each:7.1f} {each * count / 60:8.1f}"
        lines.append(f"{kind:44} {count:4} {known}")
    total = sum(seconds.get(kind, 0.0) * count for kind, count in counts.items())
    unknown = sum(count for kind, count in counts.items() if kind not in seconds)
    more = f", without {unknown} runs of unknown time" if unknown else ""
    hours = total / 3600
    lines.append(
        f"{len(jobs)} runs: {hours:.1f} hours of one core, {hours / num_workers:.1f} hours with "
        f"{num_workers} workers{more}"
    )
    return "\n".join(lines)


def publish(work: Path, jobs: Sequence[Job]) -> None:
    """Write the page and the CSV table."""
    text, table = page(Runs.read(work, jobs), jobs, INTRODUCTION)
    write_text(RESULTS / "real_table.md", text)
    write_text(RESULTS / "real_table.csv", table)


def chosen(jobs: Sequence[Job], now: str) -> list[Job]:
    """The runs of some methods, given by name and separated by commas; empty: all."""
    names = [name for name in now.split(",") if name]
    known = sorted({job.row.method for job in jobs})
    for name in names:
        if name not in known:
            raise one_of(name, known, "method in --now")
    return [job for job in jobs if not names or job.row.method in names]


def prepare(real: Path, work: Path, some: Sequence[Table]) -> None:
    """Prepare the stores of tables."""
    for dataset, backbone in dict.fromkeys((table.dataset, table.backbone) for table in some):
        prepare_store(real, work, dataset, backbone)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = Path(os.environ.get("CIGN_REAL") or "work/real")
    parser.add_argument("--real", type=Path, default=default, help="folder of the built sets")
    parser.add_argument("--work", type=Path, default=Path("work/real_table"))
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--now", default="", help="methods, separated by commas")
    parser.add_argument("--plan", action="store_true")
    parser.add_argument("--publish", action="store_true")
    arguments: Any = parser.parse_args()
    work, jobs = arguments.work, all_jobs()
    failed: dict[str, str] = {}
    restore(work)
    if not arguments.publish:
        selected = chosen(jobs, arguments.now)
        todo = [job for job in selected if not is_current(run_file(work, job), job)]
        needed = {job.table for job in todo}
        try:
            prepare(arguments.real, work, [table for table in tables() if table in needed])
        except InputError as error:
            raise SystemExit(f"{error}; or name their folder in CIGN_REAL") from None
        if arguments.plan:
            print(estimate(todo, measure(work, todo), arguments.workers))
            return
        seconds = known_seconds(work, Runs.read(work, jobs), jobs)
        failed = make_runs(
            todo, work, seconds, minutes=arguments.minutes, num_workers=arguments.workers
        )
        archive(work, jobs)
    publish(work, jobs)
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
