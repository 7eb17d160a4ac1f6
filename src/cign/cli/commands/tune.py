"""`cign tune STORE --out FOLDER`: search for the options of a method on validation clips."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from cign.cli.arguments import CommandParser, path, whole
from cign.cli.run_options import add_run_options, given_run_options
from cign.runs.configuration import run_options
from cign.utils.terminal import make_progress, note, percent, say, show_device, show_table
from cign.vocabulary import SAMPLERS

if TYPE_CHECKING:
    from cign.tuning.search import TrialResult
    from cign.tuning.tune import Tuned
    from cign.utils.progress import Progress

SUMMARY = "Search for the options of a method, scored on the validation clips of a store."
EXAMPLE = """\
cign tune work/store --out work/tuned --method lwf --tasks 4 --trials 20
cign train work/store --out work/run --recipe work/tuned/recipe.yaml --tasks 4"""
GO_ON = "run the same command again"
KEPT = "finished trials are saved"
_MOST_SHOWN = 10


def add_options(parser: CommandParser) -> None:
    """Declare the arguments."""
    parser.add_argument("store", metavar="STORE", type=path, help="store made by `cign prepare`")
    parser.add_argument(
        "--out",
        metavar="FOLDER",
        type=path,
        required=True,
        help="folder of the search: trials.csv, recipe.yaml (required)",
    )
    parser.add_argument(
        "--method", metavar="NAME", help="method to tune (required without --recipe)"
    )
    parser.add_argument(
        "--recipe",
        metavar="FILE",
        type=path,
        help="YAML file of options, with what to vary under tuning (default: the method's own)",
    )
    parser.add_argument(
        "--set",
        metavar="NAME=VALUE",
        action="append",
        help="fix one option in all trials, for example training.num_epochs=5; may be repeated",
    )
    parser.add_argument(
        "--tasks", metavar="T", type=whole(1), default=1, help="number of tasks (default: 1)"
    )
    parser.add_argument(
        "--order",
        metavar="K",
        type=whole(0),
        default=0,
        help="seed of the class order; 0 (default) is the order of the data",
    )
    add_run_options(parser, run_options())
    parser.add_argument(
        "--vary",
        metavar="NAME=VALUES",
        action="append",
        help="vary one option: V1,V2 or LOW..HIGH or LOW..HIGH:log; added to what the recipe "
        "names under tuning; may be repeated",
    )
    parser.add_argument(
        "--sampler",
        metavar="NAME",
        type=_sampler,
        default="tpe",
        help="how trials are chosen: tpe (default), grid or random",
    )
    parser.add_argument(
        "--trials",
        metavar="N",
        type=whole(1),
        help="number of trials, with those made before (default: 20, or the whole grid)",
    )
    parser.add_argument(
        "--search-seed",
        metavar="S",
        type=whole(0),
        default=0,
        help="seed of the sampler (default: 0)",
    )
    parser.add_argument(
        "--prune",
        action="store_true",
        help="end a run after a task if earlier trials were better there (median)",
    )


def _sampler(text: str) -> str:
    """A type for names of samplers."""
    if text not in SAMPLERS:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a sampler: use one of {', '.join(SAMPLERS)}"
        )
    return text


def run(options: Any) -> None:
    """Search, show the trials and write the recipe of the best one."""
    from cign.data.store import Store, read_info
    from cign.errors import InputError
    from cign.tuning.search import check_sampler
    from cign.tuning.space import make_space
    from cign.tuning.tune import TuneConfig, tune
    from cign.utils.devices import resolve_device
    from cign.utils.options import read_recipe
    from cign.utils.progress import Silent

    here = resolve_device(options.device)
    check_sampler(options.sampler)
    read_info(options.store)
    recipe = None if options.recipe is None else read_recipe(options.recipe)
    method = options.method or (None if recipe is None else recipe.method)
    if method is None:
        raise InputError("missing-option", "give --method NAME, the method to tune, or --recipe")
    if recipe is not None and recipe.method != method:
        raise InputError(
            "conflicting-options",
            f"--method is {method} but recipe {options.recipe} is for {recipe.method}: leave one "
            "of them out",
        )
    space = make_space(
        method, recipe, memory=options.memory, fixed=options.set or (), vary=options.vary or ()
    )
    config = TuneConfig(
        space=space,
        tasks=options.tasks,
        order=options.order,
        settings=given_run_options(options, run_options()),
    )
    show_device(here)
    progress = make_progress()
    tuned = tune(
        config,
        Store.open(options.store),
        options.out,
        sampler=options.sampler,
        num_trials=options.trials,
        seed=options.search_seed,
        prune=options.prune,
        progress=progress if sys.stderr.isatty() else Silent(),  # in a log, a line for each trial
        on_trial=lambda trial, total: _show_trial(progress, trial, total),
    )
    _show(tuned, options.out)
    if options.trials is not None and len(tuned.trials) < options.trials:
        note(f"{len(tuned.trials)} trials: no further combination of options was found")


def _show_trial(progress: Progress, trial: TrialResult, total: int | None) -> None:
    """Show one trial while the search goes on."""
    from cign.tuning.tune import in_words

    value = {"pruned": f"pruned at {percent(trial.value)} %", "diverged": "diverged"}.get(
        trial.state, f"{percent(trial.value)} %"
    )
    progress.note(f"trial {trial.number} of {total}: {value}, {in_words(trial.point)}")


def _show(tuned: Tuned, out: Any) -> None:
    """Show the best trials and where everything is."""
    from cign.tuning.tune import in_words

    ranked = sorted(
        tuned.trials, key=lambda one: (one.state != "complete", -(one.value or 0.0), one.number)
    )
    rows = []
    for one in ranked[:_MOST_SHOWN]:
        accuracies = [one.percent.get(name) for name in ("audio_visual", "audio", "visual")]
        shown = [percent(value) for value in accuracies]
        if one.state != "complete":
            shown[0] = one.state
        rows.append((in_words(one.point), one.number, *shown, f"{one.seconds:.0f}"))
    show_table(("options", "trial", "audio-visual", "audio", "visual", "s"), rows)
    if len(ranked) > _MOST_SHOWN:
        note(f"the {_MOST_SHOWN} best of {len(ranked)} trials; all are in {out / 'trials.csv'}")
    note(
        f"last {tuned.measure} in percent on {tuned.num_validation} validation clips: the best of "
        "several trials is optimistic, so judge it on test clips"
    )
    say(f"best: trial {tuned.best.number}, recipe {tuned.recipe}")
