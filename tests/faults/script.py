"""The command line and the result of the programs that make a number of trials."""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


def results(counts: Counter[str], problems: Sequence[str], began: float) -> dict[str, Any]:
    """What a program prints.

    Args:
        counts: Outcomes.
        problems: One text each.
        began: Time of the first trial, by `time.monotonic`.
    """
    seconds = round(time.monotonic() - began, 1)
    return {"counts": dict(sorted(counts.items())), "problems": problems, "seconds": seconds}


def main(description: str, run: Callable[[Path, int, int], dict[str, Any]], number: int) -> None:
    """Parse a folder, a number and a seed, run, and print one JSON object.

    Args:
        description: First line of the help.
        run: Makes the trials in a folder, so many, from a seed; returns `results`.
        number: Default number of trials.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--number", type=int, default=number)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(json.dumps(run(options.folder, options.number, options.seed), indent=2))
