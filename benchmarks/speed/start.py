"""Start-up time: three commands that do no work, against the interpreter alone.

python benchmarks/speed/start.py [--rounds 7]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable
from functools import partial

from part import Found, Row, part, take_turns

BOUND_S = 0.5
COMMANDS = {
    "python, nothing": ("-c", "pass"),
    "cign --help": ("-m", "cign", "--help"),
    "cign train --help": ("-m", "cign", "train", "--help"),
    "cign predict, no such model": (
        "-m",
        "cign.cli.entry_point",
        "predict",
        "no-such-folder",
        "x.mp4",
    ),
}


def start(words: tuple[str, ...]) -> None:
    command = [sys.executable, *words]
    found = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    # The command without a model must report the error.
    if found.returncode != (2 if "predict" in words else 0):
        raise RuntimeError(f"{' '.join(words)} ended with {found.returncode}")


def measure(options: argparse.Namespace) -> Found:
    contestants: dict[str, Callable[[], object]] = {
        name: partial(start, words) for name, words in COMMANDS.items()
    }
    timed = take_turns(contestants, options.rounds)
    seconds = {name: one.median_s for name, one in timed.items()}
    rows = [
        Row(
            what=f"time of `cign --help` / {BOUND_S:g} s",
            ratio=seconds["cign --help"] / BOUND_S,
            at_most=1.0,
        ),
        Row(
            what="time of `cign --help` / of the interpreter's start",
            ratio=seconds["cign --help"] / seconds["python, nothing"],
        ),
    ]
    lines = ["| | seconds |", "| --- | ---: |"]
    lines += [f"| `{name}` | {value:.2f} |" for name, value in seconds.items()]
    return Found(rows=rows, table="\n".join(lines))


if __name__ == "__main__":
    part(
        "Start-up",
        measure,
        script=__file__,
        options={"rounds": (7, "timed rounds")},
    )
