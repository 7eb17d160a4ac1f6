"""`cign report RUN_OR_BENCH...`: write an HTML report on runs or on a bench."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cign.cli.arguments import CommandParser, add_runs, path
from cign.errors import InputError
from cign.utils.terminal import say

SUMMARY = "Write one self-contained HTML report on runs over the same clips, or on a bench."
EXAMPLE = "cign report work/run work/joint --out work/report.html"


def add_options(parser: CommandParser) -> None:
    """Declare the arguments."""
    what = "run folder, a folder of runs, or the folder of one bench"
    add_runs(parser, "RUN_OR_BENCH", what)
    parser.add_argument(
        "--out",
        metavar="FILE",
        type=path,
        help="file to write (default: report.html in the run folder; with several runs, in the "
        "current folder); of a bench, FILE.tex is a LaTeX table and FILE.svg the chart of the "
        "differences",
    )
    parser.add_argument(
        "--no-frames",
        action="store_true",
        help="list misclassified clips by path only (default: with one frame each, if the store "
        "still exists)",
    )


def run(options: Any) -> None:
    """Write the report and print its path."""
    from cign.report import write_report
    from cign.report.bench import is_bench, write_bench_report

    out = options.out or (
        options.runs[0] / "report.html" if len(options.runs) == 1 else Path("report.html")
    )
    if out.is_dir():
        raise InputError(
            "bad-output", f"--out {out} is a folder: name a file, for example {out}/report.html"
        )
    benches = [folder for folder in options.runs if is_bench(folder)]
    if benches and len(options.runs) > 1:
        raise InputError(
            "conflicting-options",
            f"{benches[0]} is a bench, which needs its own report: name it alone, or name runs in "
            f"{benches[0] / 'runs'}",
        )
    if benches and options.no_frames:
        raise InputError(
            "conflicting-options",
            f"{benches[0]} is a bench, whose report has no frames: leave out --no-frames",
        )
    if not benches and out.suffix.lower() in (".tex", ".svg"):
        raise InputError(
            "unsupported",
            f"--out {out} needs a bench: compare runs with `cign bench`, or name an HTML file",
        )
    if benches:
        write_bench_report(benches[0], out)
    else:
        write_report(options.runs, out, with_frames=not options.no_frames)
    say(str(out))
