"""Tune every method with the same search, on a dataset that no table uses.

The score of a trial is the last audio-visual accuracy on synthetic dataset 1 (4 tasks, class order
0) with the best of the fusions. Methods that run with and without exemplars are tuned for each
memory. What is varied is in the recipes under `tuning` and in `src/cign/tuning/shared.yaml`.

    python benchmarks/tune.py STORE [--methods a,b] [--minutes 60] [--workers 2]
    python benchmarks/tune.py STORE --write         also write the best options to the recipes
    python benchmarks/tune.py STORE --methods my_module:MyMethod --out FOLDER --write

The last tunes a method of your own, whose recipe is beside its module. Writes ``tuning.md`` and
``tuning.csv`` in ``benchmarks/results`` or in FOLDER. Trials are files in ``WORK``,
archived in ``benchmarks/results/runs/tuning.tar.xz``; repeat the command to continue.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from pathlib import Path

from kept_runs import pack, unpacked
from tuning_results import (
    RESULTS,
    chosen_options,
    recipe_path,
    rows_of,
    write_recipe,
    write_results,
)
from tuning_trials import Trials, tuned_methods, varies_something

from cign.methods import default_recipe
from cign.utils.files import read_json
from cign.utils.pool import Program, run_tasks

HERE = Path(__file__).parent
ARCHIVE = RESULTS / "runs" / "tuning.tar.xz"
PROGRAM = (sys.executable, str(HERE / "tuning_trials.py"))


def restore(work: Path) -> None:
    """Copy archived trials that are not in the work folder."""
    with unpacked(ARCHIVE) as archived:
        for file in archived.glob("*.json"):
            folder, _, name = file.name.rpartition("=")
            target = work / "trials" / folder / name
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, target)


def archive(work: Path) -> None:
    """Archive all trials; the archive has no folders."""
    flat = work / "archived"
    shutil.rmtree(flat, ignore_errors=True)
    flat.mkdir(parents=True)
    for file in sorted((work / "trials").glob("*/*.json")):
        shutil.copyfile(file, flat / f"{file.parent.name}={file.name}")
    if any(flat.iterdir()):
        pack(flat, ARCHIVE)


def make_trials(
    searches: list[Trials], *, minutes: float | None = None, num_workers: int = 2
) -> dict[str, str]:
    """Make the trials of several searches in parallel processes of one thread.

    Args:
        searches: Methods and memories.
        minutes: Begin no trial later than this; None for no limit.
        num_workers: Number of processes.

    Returns:
        Why searches failed, by method.
    """
    deadline = None if minutes is None else time.time() + 60 * minutes
    tasks = [
        {
            "method": one.method,
            "memory": one.memory,
            "store": str(one.store),
            "work": str(one.work),
            "deadline": deadline,
        }
        for one in searches
    ]
    log = searches[0].work / "workers.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    program = Program(command=PROGRAM, num_threads=1, log=log)
    failed: dict[str, str] = {}
    for ending in run_tasks(tasks, lambda task: program, num_workers=num_workers, reuse=True):
        name = f"{ending.task['method']}, memory {ending.task['memory']}"
        answer = ending.answer or {"failed": f"its process ended ({ending.exit_code})"}
        if "failed" in answer:
            failed[ending.task["method"]] = answer["failed"]
        print(f"{name}: {answer}", flush=True)
    return failed


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("store", type=Path)
    parser.add_argument("--methods", help="separated by commas; default: all")
    parser.add_argument("--work", type=Path, default=Path("work/tuning"))
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--publish", action="store_true", help="make no trials")
    parser.add_argument("--write", action="store_true", help="write the best trials to the recipes")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the page")
    given = parser.parse_args()
    names = given.methods.split(",") if given.methods else tuned_methods()
    others = [name for name in names if name not in tuned_methods()]
    if others and given.out == RESULTS:
        parser.error(f"{others[0]} needs --out, since the published page has no further methods")
    restore(given.work)
    every = {
        name: [
            Trials(method=name, memory=memory, store=given.store, work=given.work)
            for memory in default_recipe(name).tuning["memory"]
        ]
        for name in (others or tuned_methods())
    }
    failed = {}
    if not given.publish:
        chosen = [one for name in names for one in every[name]]
        failed = make_trials(chosen, minutes=given.minutes, num_workers=given.workers)
        if not others:
            archive(given.work)
    rows = {name: [rows_of(one) for one in some] for name, some in every.items()}
    files = sorted((given.work / "trials").glob("*/*.json"))
    codes = [read_json(file, "trial")["code"] for file in files]
    flat = [row for some in rows.values() for each in some for row in each]
    if flat:
        missing = [
            one.method if one.memory == "0" else f"{one.method} ({one.memory})"
            for name, some in every.items()
            for one, found in zip(some, rows[name], strict=True)
            if not found
        ]
        write_results(flat, codes, given.out, missing)
    for name in names if given.write else []:
        if varies_something(name) and all(rows[name]):
            best = [next(row for row in each if row["chosen"]) for each in rows[name]]
            write_recipe(
                recipe_path(name),
                {
                    one.memory: (row, chosen_options(one))
                    for one, row in zip(every[name], best, strict=True)
                },
            )
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
