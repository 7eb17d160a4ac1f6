"""Tune a method on a store: search, table of trials, recipe of the best one."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from cign.data.store import Store
from cign.data.tasks import TaskSequence
from cign.errors import InputError
from cign.methods import METHODS, method_class
from cign.runs.configuration import RunConfig
from cign.runs.request import Request
from cign.training.callbacks import Callback
from cign.tuning.bases import BASE
from cign.tuning.search import TrialResult, best_of, check_sampler, search
from cign.tuning.space import Point, Space, plain
from cign.tuning.validation import Score, measure_of, score, validation_data
from cign.utils.files import read_json, write_json, write_text
from cign.utils.progress import Progress, Silent
from cign.vocabulary import MODALITIES

FORMAT = 1
RECIPE, TRIALS, RECORD = "recipe.yaml", "trials.csv", "tune.json"


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """The result of a search.

    Attributes:
        trials: All trials, in their order.
        best: The best complete one.
        measure: ``accuracy``, or ``mean average precision`` for clips with several labels.
        num_validation: Number of validation clips.
        recipe: The recipe file.
    """

    trials: list[TrialResult]
    best: TrialResult
    measure: str
    num_validation: int
    recipe: Path


@dataclass(frozen=True, kw_only=True)
class TuneConfig:
    """What is tuned.

    Attributes:
        space: The method and what is varied.
        tasks: Number of tasks, or the tasks themselves.
        order: Seed of the class order.
        settings: Run options by name, as for `cign.learner.Learner`.
    """

    space: Space
    tasks: int | TaskSequence = 1
    order: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)

    def run_config(self, store: Store) -> RunConfig:
        """The configuration of the trials, without the options of the method."""
        request = Request.of(self.space.method, {}, self.settings)
        return dataclasses.replace(request.on_store(store, self.tasks, self.order), options={})


def tune(
    config: TuneConfig,
    store: Store,
    out: Path,
    *,
    sampler: str = "tpe",
    num_trials: int | None = None,
    seed: int = 0,
    prune: bool = False,
    progress: Progress | None = None,
    on_trial: Callable[[TrialResult, int | None], None] = lambda trial, total: None,
) -> Tuned:
    """Search for options on the validation clips of a store.

    Args:
        config: What is tuned.
        store: The store; its test clips are not read.
        out: Folder of the search. The same search goes on where it ended.
        sampler: See `cign.tuning.search.search`, also for the further arguments.
        num_trials: Number of trials.
        seed: Seed of the sampler.
        prune: Whether runs that are not promising end early.
        progress: Receives the progress of steps.
        on_trial: Called with each new trial and the number of trials.

    Raises:
        InputError: If the store lacks validation clips of a class, or the folder holds another
            search.
    """
    check_sampler(sampler)
    fixed = config.run_config(store)
    data = validation_data(fixed, store)
    progress = progress or Silent()
    _begin(out, config, fixed, store)

    def scored(options: dict[str, Any], callback: Callback | None) -> Score:
        run = dataclasses.replace(fixed, options=options)
        method_class(fixed.method).check_regime(config.space.configured(options), fixed.data.regime)
        # A run trains its encoders in place; those of the next trial are read again.
        own = data if fixed.data.regime == "frozen" else validation_data(fixed, store)
        own.predictions.scores.clear()
        return score(run, own, progress, callback)

    how: dict[str, Any] = {"sampler": sampler, "num_trials": num_trials, "seed": seed}
    trials = search(config.space, scored, out, prune=prune, on_trial=on_trial, **how)
    write_text(out / TRIALS, trials_csv(trials, list(config.space.axes)))
    best = best_of(trials)
    place = out / RECIPE
    write_text(place, recipe_text(config.space, best, len(trials), store, len(data.validation)))
    return Tuned(
        trials=trials,
        best=best,
        measure=measure_of(data),
        num_validation=len(data.validation),
        recipe=place,
    )


def _begin(out: Path, config: TuneConfig, run: RunConfig, store: Store) -> None:
    """Record the search, or check that the folder holds the same one.

    Raises:
        InputError: If it holds another one.
    """
    settings = {name: value for name, value in run.settings.items() if name != "device"}
    record = {
        "format": FORMAT,
        "method": run.method,
        "space": config.space.to_dict(),
        "tasks": [list(group) for group in run.tasks],
        "order": run.order,
        "settings": settings,
        "list_hash": store.list_hash,
    }
    path = out / RECORD
    if not path.exists():
        write_json(path, record)
        return
    before = read_json(path, "record of the search")
    for name, now in record.items():
        if before.get(name) != now:
            raise InputError(
                "resume-mismatch",
                f"{out} holds a search with {'another' if name != 'settings' else 'other'} "
                f"{name.replace('list_hash', 'list of clips')}: repeat its command, or name "
                "another folder",
            )


def trials_csv(trials: Sequence[TrialResult], axes: Sequence[str]) -> str:
    """The table of the trials: state, seconds, accuracies in percent, one column for each axis."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["trial", "state", "seconds", *(f"last_{m}" for m in MODALITIES), *axes])
    for one in trials:
        values = [one.percent.get(modality, "") for modality in MODALITIES]
        point = [one.point.get(name, "") for name in axes]
        writer.writerow([one.number, one.state, one.seconds, *values, *point])
    return text.getvalue()


def recipe_text(
    space: Space, best: TrialResult, num_trials: int, store: Store, num_validation: int
) -> str:
    """A recipe with the options of the best trial."""
    options = space.options(best.point)
    source = f"trial {best.number} of {num_trials} of `cign tune`"
    varied = [name for name in best.point if name != BASE]
    if BASE in best.point:
        varied += [name for name in space.bases[best.point[BASE]] if name not in varied]
    recipe = {
        "method": METHODS.reference(method_class(space.method)),
        "options": plain(options),
        "sources": dict.fromkeys(varied, source),
    }
    about = (
        f"# Written by `cign tune`: last audio-visual accuracy {best.value:.1f} % on "
        f"{num_validation} validation clips\n"
        f"# of the store with list hash {store.list_hash[:16]}.\n"
    )
    return about + yaml.safe_dump(recipe, sort_keys=False)


def in_words(point: Point) -> str:
    """A point in one line."""
    return ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in point.items()
    )
