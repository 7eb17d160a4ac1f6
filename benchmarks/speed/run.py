"""Run the parts of the speed page in sequence and write ``benchmarks/results/speed.md``.

    python benchmarks/speed/run.py [--parts step,reading] [--again] [--quick]

Each part is a separate program, so that its peak memory can be measured, and saves its result in
``work/speed``. Results of the same commit, options and machine are reused, so that an interrupted
run resumes. The page contains all available parts, lists those that are missing and states the
commits.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

from part import ROOT, section

from cign.utils.code_version import described
from cign.utils.files import read_json, write_text

HERE = Path(__file__).parent
PAGE = ROOT / "benchmarks" / "results" / "speed.md"
# In the order of the page, with options for a quick run (whose results are meaningless).
PARTS: dict[str, tuple[str, ...]] = {
    "step": ("--rounds", "1", "--batch", "2"),
    "cached": ("--rounds", "1", "--clips", "64", "--batch", "2"),
    "adding": ("--known", "40"),
    "preparing": ("--clips", "2", "--rounds", "1"),
    "reading": ("--clips", "64", "--rounds", "1"),
    "waiting": ("--steps", "2"),
    "predicting": ("--clips", "2", "--rounds", "1"),
    "start": ("--rounds", "1"),
}


def page(results: dict[str, dict[str, Any]], title: str = "Speed") -> str:
    """The page of all available parts.

    Args:
        results: Results by name of the part.
        title: Title of the page.
    """
    lines = [
        f"# {title}",
        "",
        "`make bench`. Every number is a ratio of two quantities measured in one run, in "
        "alternating rounds; the bounds are requirements of the project.",
        "",
    ]
    machines = {
        ", ".join(f"{k} {v}" for k, v in one["machine"].items()) for one in results.values()
    }
    lines += [f"Machine: {one}." for one in sorted(machines)] + [""]
    missing = [name for name in PARTS if name not in results]
    if missing:
        lines += [f"Not measured yet: {', '.join(missing)}.", ""]
    measured: dict[str, list[str]] = {}
    for name, one in results.items():
        measured.setdefault(described(one["code"]), []).append(name)
    for code, names in measured.items():
        lines += [f"Measured at {code}: {', '.join(names)}.", ""]
    lines += [section(results[name]) for name in PARTS if name in results]
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--parts", default=",".join(PARTS), help="names separated by commas")
    parser.add_argument("--again", action="store_true", help="repeat existing measurements")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to test the scripts")
    parser.add_argument("--work", type=Path, default=ROOT / "work" / "speed")
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--title", default="Speed", help="title of the page")
    options = parser.parse_args()
    names = options.parts.split(",")
    for name in names:
        if name not in PARTS:
            parser.error(f"unknown part {name!r}: use some of {', '.join(PARTS)}")
    failed = []
    for name in names:
        command = [sys.executable, str(HERE / f"{name}.py")]
        command += ["--json", str(options.work / f"{name}.json")]
        command += ["--again"] if options.again else []
        command += PARTS[name] if options.quick else []
        print(f"{name} ...", flush=True)
        if subprocess.run(command).returncode:
            failed.append(name)
    results = {
        name: read_json(options.work / f"{name}.json", "part of the speed page")
        for name in PARTS
        if (options.work / f"{name}.json").is_file() and name not in failed
    }
    write_text(options.page, page(results, options.title))
    print(f"{options.page} written")
    if failed:
        raise SystemExit(f"{', '.join(failed)} failed: see above")


if __name__ == "__main__":
    main()
