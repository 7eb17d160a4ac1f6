"""`cign evaluate MODEL STORE`: how good a model is on any prepared clips."""

from __future__ import annotations

import json
from typing import Any

from cign.arguments import CommandParser, add_device, add_model, device_of, path
from cign.commands.train import READING_NAMES
from cign.hub import refuse_missing
from cign.terminal import percent, say, show_table

SUMMARY = "Measure a model on the clips of a store that show classes it knows."
EXAMPLE = "cign evaluate work/run work/store"


def add_options(parser: CommandParser) -> None:
    """Declare what the command takes."""
    add_model(parser)
    parser.add_argument("store", metavar="STORE", type=path, help="made by `cign prepare`")
    parser.add_argument(
        "--split", metavar="NAME", default="test", help="train, val or test (default: test)"
    )
    add_device(parser)
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")


def run(options: Any) -> None:
    """Score the clips, and show accuracy per reading."""
    refuse_missing(options.model)
    from cign.learner import Learner

    learner = Learner.load(options.model, device=device_of(options))
    result = learner.evaluate(options.store, split=options.split)
    readings = {
        name: {"measure": numbers["measure"], "value": numbers["last"]}
        for name, numbers in result["readings"].items()
    }
    if options.json:
        shown = {"num_clips": result["num_clips"], "readings": readings}
        if "open_set" in result:
            shown["open_set"] = result["open_set"]
        say(json.dumps(shown, indent=2))
        return
    (measure,) = {numbers["measure"] for numbers in readings.values()}
    measure = "mean average precision" if measure == "map" else measure
    say(f"{result['num_clips']} {options.split} clips of {options.store}")
    show_table(
        ("reading", f"{measure}, percent"),
        ((READING_NAMES[name], percent(one["value"])) for name, one in readings.items()),
    )
    if "open_set" in result:
        _show_open_set(result["open_set"])


def _show_open_set(found: dict[str, Any]) -> None:
    """How well clips of classes the model does not know are told."""
    say()
    say(
        f"{found['num_unknown']} clips of unknown classes beside {found['num_known']} of known "
        "ones, audio-visual, percent"
    )
    scores = found["readings"]["audio_visual"]
    show_table(
        ("unknown score", "AUROC", "FPR95", "OSCR"),
        (
            (
                f"{name} (this model's)" if name == found["score"] else name,
                *(percent(numbers[key]) for key in ("auroc", "fpr95", "oscr")),
            )
            for name, numbers in scores.items()
        ),
    )
    if found["threshold"] is not None:
        say(
            f"above the threshold {found['threshold']:.3f}: {found['known_called_unknown']:.1f} % "
            f"of known clips, {found['unknown_called_unknown']:.1f} % of unknown ones"
        )
