"""`cign report RUN...`: one HTML page about runs on the same clips."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cign.arguments import CommandParser, path
from cign.errors import InputError
from cign.terminal import say

SUMMARY = "Make one self-contained HTML page about one or several runs on the same clips."


def add_options(parser: CommandParser) -> None:
    """Declare what the command takes."""
    parser.add_argument(
        "runs", metavar="RUN", type=path, nargs="+", help="run folder, or a folder of runs"
    )
    parser.add_argument(
        "--out",
        metavar="FILE",
        type=path,
        help="the page (default: report.html in the run; with several runs, in this folder)",
    )


def run(options: Any) -> None:
    """Write the page, and say where it is."""
    from cign.report import write_report

    out = options.out or (
        options.runs[0] / "report.html" if len(options.runs) == 1 else Path("report.html")
    )
    if out.is_dir():
        raise InputError(f"--out {out} is a folder: name a file, for example {out}/report.html")
    write_report(options.runs, out)
    say(str(out))
