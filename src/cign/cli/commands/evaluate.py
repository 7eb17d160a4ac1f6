"""`cign evaluate MODEL STORE`: accuracy of a model on a prepared store."""

from __future__ import annotations

import json
from typing import Any

from cign.cli.arguments import CommandParser, add_device, add_model, device_of, path
from cign.cli.commands.train import MODALITY_NAMES, interval, show_accuracy
from cign.errors import InputError
from cign.saved_model.hub import refuse_missing
from cign.utils.terminal import note, percent, say, show_table
from cign.utils.wording import listed

SUMMARY = "Evaluate a model on those clips of a store whose classes it knows."
EXAMPLE = "cign evaluate work/run work/store"


def add_options(parser: CommandParser) -> None:
    """Declare the arguments."""
    add_model(parser)
    parser.add_argument("store", metavar="STORE", type=path, help="store made by `cign prepare`")
    parser.add_argument(
        "--split", metavar="NAME", default="test", help="train, val or test (default: test)"
    )
    parser.add_argument(
        "--loo",
        action="store_true",
        help="estimate accuracy without test clips: read the clips again that the model learned, "
        "and predict each by the solution without its source; of closed-form methods",
    )
    parser.add_argument(
        "--out",
        metavar="FILE",
        type=path,
        help="write the results of each clip to a .csv, .parquet or .json file: path, true and "
        "predicted label, probabilities, unknown score",
    )
    add_device(parser)
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")


def run(options: Any) -> None:
    """Score the clips; show accuracy, recall per class, confusions and unknown clips."""
    if options.loo and (options.split != "test" or options.out is not None):
        raise InputError(
            "conflicting-options",
            "--loo reads the learned clips and writes no results of clips: leave out --split and "
            "--out",
        )
    if options.out is not None:
        from cign.inference.clip_results import check_results_file

        check_results_file(options.out)
    refuse_missing(options.model)
    from cign.learner import Learner

    learner = Learner.load(options.model, device=device_of(options))
    result = learner.evaluate(options.store, split=options.split, out=options.out, loo=options.loo)
    modalities = {
        name: {
            "measure": numbers["measure"],
            "value": numbers["last"],
            "interval": numbers["interval"],
        }
        for name, numbers in result["modalities"].items()
    }
    if options.json:
        shown = {"num_clips": result["num_clips"], "modalities": modalities}
        names = ("classes", "confusions", "calibration", "open_set", "background", "loo")
        shown |= {name: result[name] for name in names if name in result}
        say(json.dumps(shown, indent=2, ensure_ascii=False))
    else:
        (measure,) = {numbers["measure"] for numbers in modalities.values()}
        clips = "clip" if result["num_clips"] == 1 else "clips"
        split = "learned" if options.loo else options.split
        say(f"{result['num_clips']} {split} {clips} of {options.store}")
        if options.loo:
            _show_left_out(result["loo"])
        show_accuracy(modalities)
        if options.loo:
            _show_calibration(result["calibration"])
        _show_classes(result["classes"], measure)
        _show_confusions(result["confusions"], measure)
        if "open_set" in result:
            _show_open_set(result["open_set"])
        if "background" in result:
            _show_background(result["background"])
    if options.out is not None:
        note(f"results of each clip in {options.out}")


def _show_left_out(found: dict[str, Any]) -> None:
    """What was left out, and what could not be counted."""
    if found["left_out"] == "sources":
        say("each predicted as if the model had learned no clip of its source (leave-one-out)")
    else:
        say("each predicted as if the model had not learned it (leave-one-out; sources differ)")
    for number, why in (
        (found["num_alone"], "a class with clips of a single source"),
        (found["num_singular"], "a singular solution without its source"),
    ):
        if number:
            say(f"not counted: {number} of {found['num_learned']} learned clips, because of {why}")


def _show_calibration(found: dict[str, dict[str, float | None]]) -> None:
    """The expected calibration error of each modality."""
    errors = ", ".join(
        f"{MODALITY_NAMES[modality]} {percent(numbers['ece'])}"
        for modality, numbers in found.items()
    )
    say(f"expected calibration error, %: {errors}")


def _show_classes(classes: list[dict[str, Any]], measure: str) -> None:
    """Recall per class, lowest first, then the classes without test clips."""
    what = "average precision" if measure == "map" else "recall"
    tested = [one for one in classes if one["num_clips"]]
    say(f"\n{what} per class, audio-visual, lowest first")
    headings = ("class", "clips", f"{what}, %", "95 % interval")
    rows = [
        (one["name"], one["num_clips"], percent(one["recall"]), interval(one["low"], one["high"]))
        for one in sorted(tested, key=lambda one: one["recall"])
    ]
    num_columns = 3 if measure == "map" else 4
    show_table(headings[:num_columns], (row[:num_columns] for row in rows))
    if lacking := [one["name"] for one in classes if not one["num_clips"]]:
        classes_are = "1 class has" if len(lacking) == 1 else f"{len(lacking)} classes have"
        say(f"{classes_are} no clip and therefore no {what}: {listed(lacking)}")


def _show_confusions(confusions: list[dict[str, Any]], measure: str) -> None:
    """The most frequent confusions, one sentence each."""
    from cign.metrics.classes import Confusion

    if measure == "map":
        return
    if not confusions:
        say("\nno confusions: every clip was assigned to its own class")
        return
    say("\nmost frequent confusions")
    for one in confusions:
        say(f"  {Confusion(**one)}")


def _show_background(found: dict[str, Any]) -> None:
    """How many background clips are called one of the classes."""
    limit = found["threshold"]
    rule = "the model has no threshold" if limit is None else f"at the threshold {limit:.3f}"
    share, bounds = percent(found["percent"]), interval(*found["interval"])
    say()
    say(
        f"background: {found['called_known']} of {found['num_clips']} clips are called a known "
        f"class, {share} % ({bounds}; {rule})",
        fit=True,
    )


def _show_open_set(found: dict[str, Any]) -> None:
    """How well the model detects clips of unknown classes."""
    say()
    say(
        f"{found['num_unknown']} clips of unknown classes and {found['num_known']} of known "
        "classes, audio-visual, percent"
    )
    scores = found["modalities"]["audio_visual"]
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
            f"of known clips, {found['unknown_called_unknown']:.1f} % of unknown clips"
        )
