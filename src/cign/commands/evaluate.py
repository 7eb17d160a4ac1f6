"""`cign evaluate MODEL STORE`: how good a model is on any prepared clips."""

from __future__ import annotations

import json
from typing import Any

from cign.arguments import CommandParser, path
from cign.commands.train import READING_NAMES
from cign.terminal import percent, say, show_table

SUMMARY = "Measure a model on the clips of a store that show classes it knows."


def add_options(parser: CommandParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("model", metavar="MODEL", type=path, help="a model, or the run it is in")
    parser.add_argument("store", metavar="STORE", type=path, help="made by `cign prepare`")
    parser.add_argument(
        "--split", metavar="NAME", default="test", help="train, val or test (default: test)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")


def run(options: Any) -> None:
    """Score the clips, and show accuracy per reading."""
    from cign.learner import Learner

    result = Learner.load(options.model).evaluate(options.store, split=options.split)
    readings = {
        name: {"measure": numbers["measure"], "value": numbers["last"]}
        for name, numbers in result["readings"].items()
    }
    if options.json:
        say(json.dumps({"num_clips": result["num_clips"], "readings": readings}, indent=2))
        return
    (measure,) = {numbers["measure"] for numbers in readings.values()}
    measure = "mean average precision" if measure == "map" else measure
    say(f"{result['num_clips']} {options.split} clips of {options.store}")
    show_table(
        ("reading", f"{measure}, percent"),
        ((READING_NAMES[name], percent(one["value"])) for name, one in readings.items()),
    )
