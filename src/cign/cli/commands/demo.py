"""`cign demo`: the complete pipeline on the embedded benchmark."""

from __future__ import annotations

import shutil
import textwrap
from pathlib import Path
from typing import Any

from cign.cli.arguments import CommandParser, add_device, device_of, path
from cign.cli.commands.train import MODALITY_NAMES
from cign.utils.terminal import make_progress, percent, say, show_table

SUMMARY = "Render clips, prepare them, train and compare four methods on four tasks: three minutes."
EXAMPLE = "cign demo --out demo"
GO_ON = "run the same command again"
_NUMBERS = ("last", "average", "forgetting")
_WIDTH = 80


def add_options(parser: CommandParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--out", metavar="DIR", type=path, default=Path("demo"), help="folder (default: demo)"
    )
    add_device(parser)


def run(options: Any) -> None:
    """Run the pipeline and show the table."""
    from cign.cli.demo import caption, run_demo

    device = device_of(options)
    results = run_demo(options.out, make_progress(), device)
    show_table(
        ("method", "memory", *MODALITY_NAMES.values()),
        (
            (row.title, _memory(row), *(_cell(metrics, modality) for modality in MODALITY_NAMES))
            for row, metrics in results
        ),
    )
    width = min(_WIDTH, shutil.get_terminal_size().columns)
    for paragraph in caption():
        say("\n" + "\n".join(textwrap.wrap(paragraph, width)))
    say()
    say(f"Report: {options.out / 'report.html'}")


def _memory(row: Any) -> str:
    if row.method == "joint":
        return "all clips"
    return "none" if row.memory == "0" else f"{row.memory} clips"


def _cell(metrics: dict[str, Any], modality: str) -> str:
    numbers = metrics["modalities"][modality]
    return "/".join(percent(numbers[name]) or "-" for name in _NUMBERS)
