"""The public class `Learner`: learn, evaluate, load. `cign.trained` has the other methods."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from cign.data.store import Store
from cign.data.tasks import TaskSequence
from cign.errors import InputError
from cign.inference.clip_results import check_results_file
from cign.inference.evaluate import evaluate_model
from cign.inference.leave_one_out import check_leaves_out, evaluate_left_out
from cign.inference.sources import LearnedClips, TestClips
from cign.methods import METHODS
from cign.runs.branching import Branch
from cign.runs.build import build_loop
from cign.runs.configuration import RunConfig, run_options
from cign.runs.embeddings import write_embeddings
from cign.runs.folder import refuse_begun, run_folder
from cign.runs.record import codes_with_current, describe, with_original_costs
from cign.runs.request import Request
from cign.runs.run_start import run_start
from cign.runs.training_data import TrainingData
from cign.saved_model.files import model_place, state_of
from cign.saved_model.folder import load_model, save_model
from cign.saved_model.from_run import kept_validation_clips, model_of
from cign.tracking.registry import make_callbacks
from cign.trained import Trained
from cign.training.callbacks import Callback, Callbacks
from cign.training.distributed.processes import current
from cign.training.loop import Loop
from cign.utils.code_version import CodeVersion
from cign.utils.display import displayed
from cign.utils.files import write_json
from cign.utils.progress import Progress


class Learner(Trained):
    """A class-incremental audio-visual classifier.

    ``Learner().learn(store, tasks=4).predict("clip.mp4").one()``

    Args:
        method: Name of the method; None takes `cign_analytic`, which stores no clips, or the
            method of the run that is resumed or branched from.
        options: Options of the method instead of its recipe; those left out have the defaults of
            the dataclass ``Options``, not the values of the recipe. None takes the recipe.
        **settings: Run options by name, as `cign.runs.configuration` declares them, for example
            ``memory="120"`` or ``device="cuda"``; ``help(Learner)`` lists them. One that is None
            or not given has its default, or the value of the run that is resumed or branched from.
            ``device`` has the default ``auto``: a GPU if there is one. ``backbone`` has the default
            of the only backbone whose tokens are in the store.

    Raises:
        InputError: If a name or a value is unknown, or this machine does not have the device.
        TypeError: If a run option is unknown.
    """

    def __init__(
        self,
        method: str | None = None,
        *,
        options: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__()
        self._request = Request.of(method, options, settings)
        self.config = self._request.new()
        self.metrics: dict[str, Any] = {}

    def __repr__(self) -> str:
        config, model = self.config, self.model
        parts = [repr(config.method)]
        if model is None:
            parts.append("not trained")
            backbone = self._request.settings.get("backbone")
        else:
            num_tasks = sum(1 for group in model.groups if group)
            parts.append(f"{len(model.classes)} classes in {num_tasks} tasks")
            backbone = model.backbone
        parts += [
            f"backbone={backbone!r}",
            f"regime={config.data.regime!r}",
            f"device={config.compute.device!r}",
        ]
        return f"Learner({', '.join(parts)})"

    # ------------------------------------------------------------------ learn

    def learn(
        self,
        store: Store | Path | str,
        *,
        tasks: int | TaskSequence | None = None,
        order: int | None = None,
        out: Path | str | None = None,
        resume: bool = False,
        checkpoint_every_s: float = 30.0,
        test_store: Store | Path | str | None = None,
        branch_from: str | None = None,
        keep_tasks: bool = False,
        callbacks: Sequence[Callback | str] = (),
        log_every: int | None = None,
        group: str = "",
        progress: Progress | bool | None = None,
    ) -> Self:
        """Learn all classes of a store, task by task.

        Args:
            store: A prepared store or its folder.
            tasks: Number of tasks, or the tasks themselves; default: 1, or those of the run that is
                resumed or branched from.
            order: Class-order seed, 0 (default) for the order of the data; if ``tasks`` is a
                sequence, it is only recorded.
            out: RUN folder for configuration, checkpoints, metrics, predictions and model.
            resume: Resume the run in ``out`` with its saved configuration. Values that were given
                explicitly, here or to the constructor, must agree with it, except those that do not
                affect the results.
            checkpoint_every_s: Seconds between checkpoints.
            test_store: A store with the same classes whose test clips are scored instead of the
                store's own.
            branch_from: ``RUN@TASK``: start from the state of a run after one of its tasks, which
                must have been saved (``keep_tasks``). Options, seed and later tasks may differ
                from that run; if ``tasks`` is no sequence, the tasks of that run are used.
            keep_tasks: Save the state after each task in ``out``.
            callbacks: Called at steps, epochs and tasks (`cign.Callback`); or names: the loggers
                ``csv``, ``tensorboard``, ``wandb`` and ``mlflow``, or ``package.module:Class``.
            log_every: Steps between the losses that loggers by name write (default: 50).
            group: Name of the comparison that the run belongs to, for loggers.
            progress: Receives the progress of steps; None shows a bar in a terminal or notebook,
                False shows none.

        Returns:
            This learner; `metrics` holds the contents of ``metrics.json``.

        Raises:
            InputError: If stores, tasks and folder do not match, or an explicitly given value
                differs from that of the run that is resumed or branched from, or a callback is
                unknown or its package missing.
            StopRun: If a callback ended the run.
        """
        store = _opened(store)
        tested = None if test_store is None else _opened(test_store)
        branch = None if branch_from is None else Branch.parse(branch_from)
        folder, comm = None if out is None else Path(out), current()
        how = {"resume": resume, "keep_tasks": keep_tasks}
        with comm.agreeing():
            made = make_callbacks(callbacks if comm.is_first else (), every_steps=log_every)
        with displayed(progress if comm.is_first or progress else False) as shown:
            data, loop = self._begin(store, tested, branch, folder, tasks, order, resume, shown)
            parent = None if branch is None else branch.run
            code = codes_with_current(folder if resume else parent)
            with contextlib.ExitStack() as held:
                if folder is not None:
                    held.enter_context(
                        run_folder(folder, self.config, loop, data, code=code, **how)
                    )
                    loop.checkpoint_every_s = checkpoint_every_s
                loop.callbacks = Callbacks(made, shown)
                start = run_start(self.config, loop, folder, resumed=resume, group=group)
                held.enter_context(loop.callbacks.during(start))
                loop.run()
                if folder is not None and comm.is_first:
                    write_embeddings(folder, loop)
                self._finish(loop, data, folder if comm.is_first else None, code)
                loop.callbacks.run_end(self.metrics)
                return self

    def _begin(
        self,
        store: Store,
        tested: Store | None,
        branch: Branch | None,
        folder: Path | None,
        tasks: int | TaskSequence | None,
        order: int | None,
        resume: bool,
        progress: Progress,
    ) -> tuple[TrainingData, Loop]:
        """Complete the configuration and build the run; errors occur before anything is written."""
        with current().agreeing():
            if folder is not None and resume:
                saved, branch = RunConfig.load(folder), None
                self.config = self._request.resumed(saved, folder, tasks, order)
            else:
                if folder is not None:
                    refuse_begun(folder)
                self._configure(store, tasks, order, branch)
            data = TrainingData.open(self.config, store, tested)
            loop = build_loop(self.config, data, progress)
            if branch is not None:
                branch.begin(loop)
        return data, loop

    def _configure(
        self,
        store: Store,
        tasks: int | TaskSequence | None,
        order: int | None,
        branch: Branch | None,
    ) -> None:
        """Set tasks and backbone from the store and from the run that is branched from."""
        request, order = self._request, order or 0
        if branch is not None:
            request = request.completed(branch.config, branch.run)
            if not isinstance(tasks, TaskSequence):
                tasks, order = TaskSequence(branch.config.tasks), branch.config.order
        self.config = request.on_store(store, 1 if tasks is None else tasks, order)
        if branch is not None:
            self.config = branch.configured(self.config)

    def _finish(
        self, loop: Loop, data: TrainingData, folder: Path | None, code: Sequence[CodeVersion]
    ) -> Self:
        """Turn the finished loop into a model and complete the run folder."""
        kept = kept_validation_clips(self.config, loop, data)
        num_bytes = 0 if kept is None else kept.num_bytes
        self.metrics = describe(self.config, loop, data, code=code, validation_bytes=num_bytes)
        self.model = model_of(self.config, loop, data, kept, self.metrics["modalities"])
        self._backbone = None  # belongs to the previous model
        if folder is not None:
            self.metrics = with_original_costs(folder, self.metrics)
            save_model(self.model, folder / "model")
            write_json(folder / "metrics.json", self.metrics)
        self.model.to(self.config.compute.device)
        return self

    # --------------------------------------------------------- evaluate, load

    def evaluate(
        self,
        store: Store | Path | str,
        *,
        split: str = "test",
        out: Path | str | None = None,
        loo: bool = False,
    ) -> dict[str, Any]:
        """Evaluate the model on those clips of a store whose classes it knows.

        With ``loo``, estimate the same without test clips: read the clips again that the model
        learned, and predict each by the solution without all clips of its sources.

        Args:
            store: A prepared store or its folder, with tokens of the model's backbone.
            split: Split of the clips.
            out: A .csv, .parquet or .json file for the results of each clip
                (`cign.inference.clip_results.ClipResults`); None writes no file.
            loo: Whether to leave out learned clips instead (closed-form methods on frozen tokens);
                then ``split`` and ``out`` have no effect and must keep their defaults.

        Returns:
            ``modalities``: for each modality the metrics of ``metrics.json`` for a single task and
            the 95 % interval of accuracy, in percent. ``classes``: recall of each class,
            audio-visual, with its interval. ``confusions``: the most frequent ones.
            ``calibration``: expected calibration errors and Brier score by modality. ``open_set``,
            if the store has clips of unknown classes. ``loo``, see
            `cign.inference.leave_one_out.evaluate_left_out`.

        Raises:
            InputError: If the store does not match the model or has no such clip, or ``out`` has
                another suffix; with ``loo`` also if the method cannot leave out clips, or the clips
                are not those that it learned.
        """
        place = None if out is None else Path(out)
        model = self._trained()
        if loo:
            if split != "test" or place is not None:
                raise InputError(
                    "conflicting-options",
                    "loo reads the learned clips and writes no results of clips: leave out split "
                    "and out",
                )
            check_leaves_out(model)
            return evaluate_left_out(model, LearnedClips.open(model, _opened(store)))
        if place is not None:
            check_results_file(place)
        return evaluate_model(model, TestClips.open(model, _opened(store), split), place)

    @classmethod
    def load(cls, folder: Path | str, *, device: str | None = None) -> Learner:
        """Read a MODEL folder, the model of a RUN, or ``owner/name`` on a hub of models.

        Args:
            folder: Path or hub name.
            device: Compute device, as for the constructor.

        Raises:
            InputError: If it is missing, damaged, changed or of a newer version, or this machine
                does not have the device.
        """
        place = model_place(Path(folder)).resolve()  # a hub name has no local file here
        seen = {place: state_of(place)}
        model = load_model(Path(folder))
        learner = cls(
            METHODS.reference(type(model.method)),
            options=dataclasses.asdict(model.method.options),
            regime=model.regime,
            backbone=model.backbone,
            device=device,
        )
        learner.model, learner._seen = model.to(learner.config.compute.device), seen
        return learner


def _signature() -> inspect.Signature:
    """The signature of `Learner` with the run options by name."""
    *own, _ = inspect.signature(Learner.__init__).parameters.values()
    settings = [
        inspect.Parameter(
            one.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=f"{one.kind.__name__} | None",
        )
        for one in run_options()
    ]
    return inspect.Signature([*own, *settings])


Learner.__init__.__signature__ = _signature()  # type: ignore[attr-defined]


def _opened(store: Store | Path | str) -> Store:
    return store if isinstance(store, Store) else Store.open(Path(store))
