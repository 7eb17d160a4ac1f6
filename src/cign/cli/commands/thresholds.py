"""`cign thresholds MODEL [CLIPS]`: the probability from which each class is assigned."""

from __future__ import annotations

import argparse
import json
from typing import Any

from cign.cli.arguments import (
    CommandParser,
    add_device,
    device_of,
    path,
    reading_of,
)
from cign.cli.commands.add import add_out
from cign.cli.commands.audit import add_learned_clips
from cign.errors import InputError
from cign.utils.terminal import note, percent, say, show_table
from cign.utils.wording import listed

SUMMARY = (
    "Choose a threshold for each class from the learned clips, or show the model's thresholds."
)
EXAMPLE = (
    "cign thresholds work/model work/store --precision 0.95\n"
    "cign thresholds work/model\n"
    "cign thresholds work/model --clear"
)


def add_options(parser: CommandParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "model",
        metavar="MODEL",
        type=path,
        help="model folder; to show thresholds or with --out also a run",
    )
    add_learned_clips(parser, nargs="?")
    parser.add_argument(
        "--precision",
        metavar="P",
        type=_share,
        help="wanted precision of each class, above 0 and at most 1 (default: 0.9)",
    )
    parser.add_argument(
        "--recall", metavar="R", type=_share, help="wanted recall of each class, instead"
    )
    parser.add_argument("--clear", action="store_true", help="remove the thresholds of classes")
    add_out(parser)
    add_device(parser)
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")


def _share(text: str) -> float:
    """A type for fractions."""
    try:
        value = float(str(text))
    except ValueError:
        value = 0.0
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not above 0 and at most 1, for example 0.9")
    return value


def run(options: Any) -> None:
    """Choose, remove or show thresholds."""
    _check(options)
    if options.clips is None and not options.clear:
        _show_stored(options)
        return
    from cign.saved_model.versions import changing

    with changing(options.model, options.out) as work:
        from cign.learner import Learner  # slow import: only after the model was found

        learner = Learner.load(work.place, device=device_of(options))
        assert learner.model is not None
        if options.clear and learner.model.thresholds is None:
            raise InputError(
                "unknown-name", f"model {options.model} has no thresholds of classes to remove"
            )
        found = learner.thresholds(
            options.clips,
            precision=options.precision,
            recall=options.recall,
            clear=options.clear,
            **reading_of(options),
        )
        if options.json:
            say(json.dumps(_as_dict(learner.model), indent=2, ensure_ascii=False))
        elif found is None:
            say("removed the thresholds of classes: every clip is assigned to a class again")
        else:
            show(found)
        kept = work.keep(learner.model)
        if not options.json:
            say(kept)


def _check(options: Any) -> None:
    """Refuse options that exclude each other or have no effect."""
    wanted = [f"--{name}" for name in ("precision", "recall") if options[name] is not None]
    if len(wanted) > 1:
        raise InputError(
            "conflicting-options",
            "a threshold is chosen for --precision or --recall, not both: leave out one",
        )
    if options.clear and (options.clips is not None or wanted):
        raise InputError(
            "conflicting-options", "--clear removes the thresholds: give nothing but MODEL with it"
        )
    if options.clips is None and (wanted or (options.out is not None and not options.clear)):
        raise InputError(
            "missing-option",
            f"{wanted[0] if wanted else '--out'} has no effect without CLIPS: give the clips that "
            "the model learned",
        )


def _show_stored(options: Any) -> None:
    """The thresholds that a model has."""
    from cign.saved_model.hub import refuse_missing

    refuse_missing(options.model)
    from cign.saved_model.folder import load_model

    model = load_model(options.model)
    if options.json:
        say(json.dumps(_as_dict(model), indent=2, ensure_ascii=False))
        return
    say(_unknown_in_words(model.unknown), fit=True)
    if model.thresholds is None:
        say("thresholds of classes: none; give the learned clips to choose them", fit=True)
    else:
        say()
        show(model.thresholds)


def _as_dict(model: Any) -> dict[str, Any]:
    """All thresholds as plain values."""
    rule = model.unknown
    return {
        "unknown": {
            "score": rule.score,
            "thresholds": dict(rule.thresholds),
            "num_clips": rule.num_clips,
        },
        "classes": None if model.thresholds is None else model.thresholds.to_dict(),
    }


def _unknown_in_words(rule: Any) -> str:
    """The threshold of the unknown score, and the number of clips behind it."""
    if not rule.thresholds:
        return "threshold for unknown clips: none, because there were no validation clips"
    number = f"{rule.num_clips}" if rule.num_clips else "an unknown number of"
    clips = "clip" if rule.num_clips == 1 else "clips"
    threshold = rule.thresholds["audio_visual"]
    return (
        f"threshold for unknown clips: {threshold:.3f} of score {rule.score}, based on {number} "
        f"validation {clips}"
    )


def show(found: Any) -> None:
    """The table of classes, and those that do not reach what was wanted."""
    say(
        f"thresholds of classes, audio-visual, for {found.measure} {found.wanted:g}; precision and "
        "recall by leave-one-out",
        fit=True,
    )
    rows = []
    for name, by_modality in found.classes.items():
        one = by_modality["audio_visual"]
        rows.append(
            (
                name,
                None if one.threshold is None else f"{one.threshold:.3f}",
                _percent(one.precision),
                _percent(one.recall),
                one.num_clips,
            )
        )
    show_table(("class", "threshold", "precision, %", "recall, %", "clips"), rows)
    best, none = [], []
    for name in found.not_reached:
        one = found.classes[name]["audio_visual"]
        value = one.precision if found.measure == "precision" else one.recall
        if one.threshold is None:
            none.append(name)
        else:
            best.append(f"{name} ({_percent(value)} %)")
    wanted = f"{found.measure} {100 * found.wanted:g} %"
    if best:
        note(f"{wanted} cannot be reached, the best that can be is used: {listed(best)}")
    if none:
        note(
            "no threshold, because no clip of the class is assigned to it without its source: "
            f"{listed(none)}"
        )


def _percent(value: float | None) -> str | None:
    return None if value is None else percent(100 * value)
