"""`cign next` on a Ray cluster of this machine: time with one, two, ... calls at a time.

    python benchmarks/speed/cluster.py work/stores/real24 --workers 1,2

writes ``benchmarks/results/cluster.md``. The clips are those of ``proposing.py``, 100,000 of them,
in one store. Each run is a process of its own, from its start to its end, with one thread per call;
its answer must be that of the local run, byte for byte.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from part import ROOT, machine
from proposing import NUMBER, Cost, command, model_and_clips, repeated

from cign.data.store import Store
from cign.utils.code_version import PACKAGE, code_version, described
from cign.utils.files import write_text

OUT = ROOT / "benchmarks" / "results" / "cluster.md"


def row(name: str, cost: Cost, local: Cost, is_same: bool) -> str:
    same = "yes" if is_same else "NO"
    return (
        f"| {name} | {cost.wall_s:.1f} | {local.wall_s / cost.wall_s:.2f} | {cost.cpu_s:.1f} | "
        f"{cost.peak_mb:,.0f} | {same} |"
    )


def page(options: argparse.Namespace, model: Path, pool: Store) -> list[str]:
    """Measure; lines of Markdown."""
    os.environ["OMP_NUM_THREADS"] = "1"
    words = ("next", model, pool.folder, "--number", NUMBER, "--json")
    first = command(*words)[0]
    answer, local = command(*words)  # again: the file cache is now as for the others
    assert answer == first
    rows = [row("`--engine local`", local, local, True)]
    for number in options.workers:
        found, cost = command(*words, "--engine", "ray", "--workers", number)
        name = f"`--engine ray --workers {number}`"
        rows.append(row(name, cost, local, json.dumps(found) == json.dumps(answer)))
    return [
        "# `cign next` on a cluster",
        "",
        f"`python benchmarks/speed/cluster.py {options.store.name} --clips {options.clips} "
        f"--workers {','.join(map(str, options.workers))}`, at "
        f"{described(code_version(PACKAGE, Path(__file__)))}.",
        "",
        f"{pool.num_clips:,} clips of [the measurement on one machine](next.md), in one store of "
        f"{_gigabytes(pool.folder):.1f} GB; "
        f"{answer['num_scored']:,} of them with their tokens. One thread per call and in the local "
        "run (`OMP_NUM_THREADS=1`). A temporary Ray cluster on the same machine, started and "
        "stopped within the time; the local run was made twice, and the second counts.",
        "",
        "| command | seconds | times as fast | seconds of processors, without Ray's | "
        "peak memory of the command, MB | same answer |",
        "| --- | ---: | ---: | ---: | ---: | --- |",
        *rows,
        "",
        f"Machine: {', '.join(f'{k} {v}' for k, v in machine().items())}; load "
        f"{os.getloadavg()[0]:.1f} at the end.",
        "",
    ]


def _gigabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e9


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("store", type=Path, help="store with tokens of one backbone")
    parser.add_argument("--clips", type=int, default=100_000)
    parser.add_argument(
        "--workers", type=lambda text: [int(one) for one in text.split(",")], default=[1, 2]
    )
    parser.add_argument("--work", type=Path, default=Path("work/next"))
    parser.add_argument("--keep", action="store_true", help="keep the made stores")
    parser.add_argument("--out", type=Path, default=OUT)
    options: Any = parser.parse_args(arguments)
    model, small, _ = model_and_clips(options)
    pool = repeated(small, options.work / "large")
    write_text(options.out, "\n".join(page(options, model, pool)))
    if not options.keep:
        shutil.rmtree(options.work)
    print(options.out.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main(sys.argv[1:])
