"""The search: trials chosen by Optuna, one after the other, recorded so that it can go on."""

from __future__ import annotations

import importlib.util
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cign.errors import InputError, one_of
from cign.training.callbacks import Callback, StopRun, TaskEnd
from cign.tuning.axes import Axis, Range
from cign.tuning.space import Point, Space, plain
from cign.tuning.validation import Score
from cign.utils.leftovers import held_folder
from cign.vocabulary import SAMPLERS

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial

JOURNAL = "study.journal"
DEFAULT_TRIALS = 20
_MOST_UNUSABLE = 50  # in a row: invalid, or tried before

Scorer = Callable[[dict[str, Any], Callback | None], Score]


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """A trial.

    Attributes:
        number: Its number, from 1, in the order of the search.
        point: The value of each axis.
        value: Last audio-visual accuracy on the validation clips, in percent; for a pruned trial
            after the task at which it was pruned; None if a loss diverged.
        percent: The same for each modality; empty if it was pruned or diverged.
        state: ``complete``, ``pruned`` or ``diverged``.
        seconds: Time that it took.
    """

    number: int
    point: Point
    value: float | None
    percent: dict[str, float]
    state: str
    seconds: float


def search(
    space: Space,
    score: Scorer,
    out: Path,
    *,
    sampler: str = "tpe",
    num_trials: int | None = None,
    seed: int = 0,
    prune: bool = False,
    on_trial: Callable[[TrialResult, int | None], None] = lambda trial, total: None,
) -> list[TrialResult]:
    """Make the trials that are missing.

    Which options a trial has depends only on the seed and on the trials before it, so that an
    interrupted search makes the same trials as one without interruptions.

    Args:
        space: What is varied.
        score: Scores options; it passes the callback on to the run.
        out: Folder with the journal of the search; an existing one goes on.
        sampler: ``tpe`` (tree-structured Parzen estimator), ``grid`` (all points, in random order)
            or ``random``.
        num_trials: Number of scored trials, with those made before; None makes all points of a
            grid, and 20 trials otherwise.
        seed: Seed of the sampler.
        prune: Whether to end a run after a task if its accuracy is below the median of the
            earlier trials after this task.
        on_trial: Called with each new trial and the number of trials, if it is known.

    Returns:
        All scored trials, in their order.

    Raises:
        InputError: If Optuna is not installed, the sampler is unknown, or another process searches
            in the folder.
    """
    check_sampler(sampler)
    if sampler == "grid":
        grid = list(space.points())
        random.Random(seed).shuffle(grid)
        wanted = len(grid) if num_trials is None else min(num_trials, len(grid))
    else:
        grid, wanted = [], DEFAULT_TRIALS if num_trials is None else num_trials
    with held_folder(out, "search folder"):
        study = _study(out, prune)
        _close_interrupted(study)
        unusable = 0
        while len(_scored(study)) < wanted and unusable < _MOST_UNUSABLE:
            if grid and not _enqueue_next(study, grid):
                break
            study.sampler = _sampler(sampler, seed + len(_ended(study)))
            trial = study.ask()
            result = _made(study, trial, space, score, prune)
            unusable = 0 if result else unusable + 1
            if result:
                on_trial(result, wanted)
        return results_of(study)


def check_sampler(name: str) -> None:
    """Check the sampler and that Optuna is installed.

    Raises:
        InputError: If it is unknown, or Optuna is missing.
    """
    if name not in SAMPLERS:
        raise one_of(name, SAMPLERS, "sampler")
    if importlib.util.find_spec("optuna") is None:
        raise InputError(
            "missing-package",
            "the search needs the package optuna: `pip install optuna`, or the extra `tune`",
        )


def _study(out: Path, prune: bool) -> Study:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=4) if prune else None
    return optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(out / JOURNAL))),
        study_name="cign",
        direction="maximize",
        load_if_exists=True,
        pruner=pruner or optuna.pruners.NopPruner(),
    )


def _sampler(name: str, seed: int) -> Any:
    """A sampler whose draws do not depend on those before."""
    import optuna

    if name == "tpe":
        return optuna.samplers.TPESampler(seed=seed)
    return optuna.samplers.RandomSampler(seed=seed)


def _close_interrupted(study: Study) -> None:
    """Close trials whose process ended; the next trial is then drawn as they were."""
    from optuna.trial import TrialState

    for trial in study.get_trials(states=(TrialState.RUNNING,), deepcopy=False):
        study.tell(trial.number, state=TrialState.FAIL)


def _enqueue_next(study: Study, grid: list[Point]) -> bool:
    """Choose the next point of a grid that was not tried; False if there is none."""
    from optuna.trial import TrialState

    if study.get_trials(states=(TrialState.WAITING,), deepcopy=False):
        return True
    tried = [one.params for one in _ended(study)]
    for point in grid:
        if point not in tried:
            study.enqueue_trial(point)
            return True
    return False


def _made(
    study: Study, trial: Trial, space: Space, score: Scorer, prune: bool
) -> TrialResult | None:
    """Make one trial; None if its options are invalid or were tried before."""
    from optuna.trial import TrialState

    point = {name: _suggested(trial, name, axis) for name, axis in space.axes.items()}
    begin = time.monotonic()
    try:
        options = space.options(point)
    except InputError:
        trial.set_user_attr("reason", "invalid")
        study.tell(trial, state=TrialState.FAIL)
        return None
    plain_options = plain(options)  # as the journal stores them
    if any(one.user_attrs.get("options") == plain_options for one in _scored(study)):
        trial.set_user_attr("reason", "tried before")
        study.tell(trial, state=TrialState.FAIL)
        return None
    pruner = _Pruner(trial) if prune else None
    try:
        found = score(options, pruner)
    except StopRun:
        found = None
    trial.set_user_attr("options", plain_options)
    trial.set_user_attr("seconds", round(time.monotonic() - begin, 2))
    if found is None:
        study.tell(trial, state=TrialState.PRUNED)
    elif found.value is None:
        trial.set_user_attr("reason", "diverged")
        study.tell(trial, state=TrialState.FAIL)
    else:
        trial.set_user_attr("percent", found.percent)
        study.tell(trial, found.value)
    return results_of(study)[-1]


def _suggested(trial: Trial, name: str, axis: Axis) -> Any:
    if isinstance(axis, Range) and axis.whole:
        return trial.suggest_int(name, int(axis.low), int(axis.high), log=axis.log)
    if isinstance(axis, Range):
        return trial.suggest_float(name, axis.low, axis.high, log=axis.log)
    return trial.suggest_categorical(name, axis)


class _Pruner(Callback):
    """Reports the accuracy after each task and ends the run of a trial that is not promising."""

    def __init__(self, trial: Trial) -> None:
        self._trial = trial

    def on_task_end(self, task: TaskEnd) -> None:
        """Report, and ask whether to go on.

        Raises:
            StopRun: If the trial is pruned.
        """
        self._trial.report(task.metrics["last_audio_visual"], task.number)
        if self._trial.should_prune():
            raise StopRun


def _reason(trial: FrozenTrial) -> str:
    return str(trial.user_attrs.get("reason", ""))


def _ended(study: Study) -> list[FrozenTrial]:
    """The trials that were not interrupted, with the invalid and repeated ones."""
    return [
        one
        for one in study.get_trials(deepcopy=False)
        if one.state.name in ("COMPLETE", "PRUNED") or _reason(one)
    ]


def _scored(study: Study) -> list[FrozenTrial]:
    """The trials that ran: not the invalid, repeated or interrupted ones."""
    return [one for one in _ended(study) if one.state.name != "FAIL" or _reason(one) == "diverged"]


def results_of(study: Study) -> list[TrialResult]:
    """The trials that ran, in their order."""
    states = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "diverged"}
    return [
        TrialResult(
            number=number,
            point=dict(one.params),
            value=one.value
            if one.state.name == "COMPLETE"
            else one.intermediate_values.get(max(one.intermediate_values, default=0)),
            percent=one.user_attrs.get("percent", {}),
            state=states[one.state.name],
            seconds=one.user_attrs["seconds"],
        )
        for number, one in enumerate(_scored(study), 1)
    ]


def best_of(results: list[TrialResult]) -> TrialResult:
    """The complete trial with the highest value; the first of equal ones.

    Raises:
        InputError: If no trial is complete.
    """
    complete = [one for one in results if one.state == "complete" and one.value is not None]
    if not complete:
        raise InputError(
            "bad-value",
            "no trial of the search is complete: make more trials, or vary lower learning rates",
        )
    return max(complete, key=lambda one: (one.value or 0.0, -one.number))
