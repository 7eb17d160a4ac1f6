"""The public face: learn, evaluate, load; what is done with a model then: `cign.trained`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from cign.backbones.registry import in_full
from cign.data.store import Store
from cign.data.tasks import TaskSequence, split_into_tasks
from cign.data.tokens import source_of
from cign.inference.evaluate import evaluate_model
from cign.methods import DEFAULT_METHOD, METHODS, default_recipe, method_class
from cign.runs.branching import Branch
from cign.runs.build import build_loop, fitting_backbone
from cign.runs.configuration import RunConfig, refuse_begun
from cign.runs.embeddings import write_embeddings
from cign.runs.folder import run_folder
from cign.runs.record import as_made, describe
from cign.saved_model.files import ABOUT, checksum, model_place
from cign.saved_model.folder import load_model, save_model
from cign.saved_model.from_run import kept_validation_clips, model_of
from cign.trained import Trained
from cign.training.distributed.processes import current
from cign.training.loop import Loop
from cign.utils.devices import resolve_device
from cign.utils.display import displayed
from cign.utils.files import write_json
from cign.utils.options import configure
from cign.utils.progress import Progress


class Learner(Trained):
    """A class-incremental audio-visual classifier.

    ``Learner().learn(store, tasks=4).predict("clip.mp4").one()``

    Args:
        method: Name of the method; `cign_analytic`, which keeps no clips, if absent.
        options: Options of the method that differ from its recipe.
        regime: ``frozen`` on cached tokens or ``end-to-end``.
        backbone: Backbone whose tokens are read; None takes the only one the store holds.
        memory: Budget of exemplars: ``"120"``, ``"20/class"`` or ``"64MB"``.
        selection: ``herding`` or ``random``.
        seed: Of weights, shuffling and noise.
        allow_missing: Whether training takes clips that lack sound or picture.
        bf16: Whether encoders and transformers multiply in bfloat16, which is several times faster
            where the processor has units for it; losses and linear heads stay float32.
        device: Where to compute: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``; None and
            ``auto`` take a GPU if there is one.

    Raises:
        InputError: If a name or a value is not known, or this machine lacks the device.
    """

    def __init__(
        self,
        method: str = DEFAULT_METHOD,
        *,
        options: Mapping[str, Any] | None = None,
        regime: str = "frozen",
        backbone: str | None = None,
        memory: str = "0",
        selection: str = "herding",
        seed: int = 0,
        allow_missing: bool = False,
        bf16: bool = False,
        device: str | None = None,
    ) -> None:
        super().__init__()
        cls = method_class(method)
        recipe = default_recipe(method).options if options is None else dict(options)
        filled: Any = configure(cls.Options, recipe, f"recipe of {method}")
        cls.check_regime(filled, regime)
        self._backbone_name, self._asked_device = backbone, device
        self.config = RunConfig(
            method=METHODS.reference(cls),
            options=dataclasses.asdict(filled),
            seed=seed,
            memory=memory,
            selection=selection,
            regime=regime,
            allow_missing=allow_missing,
            bf16=bf16,
            device=resolve_device(device),
        )
        self.metrics: dict[str, Any] = {}

    def __repr__(self) -> str:
        config, model = self.config, self.model
        parts = [repr(config.method)]
        if model is None:
            parts.append("not trained")
            backbone = self._backbone_name
        else:
            num_tasks = sum(1 for group in model.groups if group)
            parts.append(f"{len(model.classes)} classes in {num_tasks} tasks")
            backbone = model.backbone
        parts += [
            f"backbone={backbone!r}",
            f"regime={config.regime!r}",
            f"device={config.device!r}",
        ]
        return f"Learner({', '.join(parts)})"

    # ------------------------------------------------------------------ learn

    def learn(
        self,
        store: Store | Path | str,
        *,
        tasks: int | TaskSequence = 1,
        order: int = 0,
        out: Path | str | None = None,
        resume: bool = False,
        checkpoint_every_s: float = 30.0,
        test_store: Store | Path | str | None = None,
        branch_from: str | None = None,
        keep_tasks: bool = False,
        progress: Progress | bool | None = None,
    ) -> Self:
        """Learn all classes of a store, task after task.

        Args:
            store: A prepared store or its folder.
            tasks: Number of tasks, or the tasks themselves.
            order: Class-order seed, 0 for the data's own order; recorded only where ``tasks``
                are given.
            out: RUN folder for configuration, checkpoints, metrics, predictions and model.
            resume: Go on with the run in ``out``, with the configuration it was begun with.
            checkpoint_every_s: Seconds between checkpoints.
            test_store: A store with the same classes whose test clips are scored instead of the
                store's own.
            branch_from: ``RUN@TASK``: begin with the state of a run after one of its tasks, which
                it kept (``keep_tasks``). Options, seed and the tasks to come may be others than
                the run's; where only a number of ``tasks`` is given, they are the run's.
            keep_tasks: Keep the state after each task in ``out``.
            progress: Told of steps; None shows a bar in a terminal and a notebook, False none.

        Returns:
            This learner; `metrics` holds what ``metrics.json`` does.

        Raises:
            InputError: If stores, tasks and folder do not fit.
        """
        store = _opened(store)
        tested = None if test_store is None else _opened(test_store)
        branch = None if branch_from is None else Branch.parse(branch_from)
        folder, comm = None if out is None else Path(out), current()
        how = {"resume": resume, "keep_tasks": keep_tasks}
        with displayed(progress if comm.is_first or progress else False) as told:
            loop = self._begin(store, tested, branch, folder, tasks, order, resume, told)
            if folder is None:
                loop.run()
                return self._finish(loop, store, tested, None)
            with run_folder(folder, self.config, loop, store, tested, **how):
                loop.checkpoint_every_s = checkpoint_every_s
                loop.run()
                if comm.is_first:
                    write_embeddings(folder, loop)
                return self._finish(loop, store, tested, folder if comm.is_first else None)

    def _begin(
        self,
        store: Store,
        tested: Store | None,
        branch: Branch | None,
        folder: Path | None,
        tasks: int | TaskSequence,
        order: int,
        resume: bool,
        progress: Progress,
    ) -> Loop:
        """Settle the configuration and put the run together; refuses before anything is written."""
        with current().agreeing():
            if folder is not None and resume:
                self.config, branch = RunConfig.load(folder).on(self._asked_device), None
            else:
                if folder is not None:
                    refuse_begun(folder)
                self._configure(store, tasks, order, branch)
            loop = build_loop(self.config, store, progress, tested)
            if branch is not None:
                branch.begin(loop)
        return loop

    def _configure(
        self, store: Store, tasks: int | TaskSequence, order: int, branch: Branch | None
    ) -> None:
        """Settle what the store and a run that is branched from decide: tasks and backbone."""
        if isinstance(tasks, int) and branch is not None:
            tasks, order = TaskSequence(branch.config.tasks), branch.config.order
        elif isinstance(tasks, int):
            tasks = split_into_tasks(store.class_names, tasks, order)
        backbone = None if self._backbone_name is None else in_full(self._backbone_name)
        if self.config.regime == "frozen":
            name = backbone or fitting_backbone(store, self.config.method)
            backbone = source_of(store.tokens(name).info)
        self.config = dataclasses.replace(
            self.config, tasks=tasks.groups, order=order, backbone=backbone or "small"
        )
        if branch is not None:
            self.config = branch.configured(self.config)

    def _finish(self, loop: Loop, store: Store, tested: Store | None, folder: Path | None) -> Self:
        """Turn the finished loop into a model and write what the folder still lacks."""
        kept = kept_validation_clips(self.config, loop.clips, store)
        num_bytes = 0 if kept is None else kept.num_bytes
        self.metrics = describe(self.config, loop, store, tested, validation_bytes=num_bytes)
        self.model = model_of(self.config, loop, store, kept, self.metrics["readings"])
        self._backbone = None  # of the model that it had before
        if folder is not None:
            self.metrics = as_made(folder, self.metrics)
            save_model(self.model, folder / "model")
            write_json(folder / "metrics.json", self.metrics)
        self.model.to(self.config.device)
        return self

    # --------------------------------------------------------- evaluate, load

    def evaluate(
        self,
        store: Store | Path | str,
        *,
        split: str = "test",
        out: Path | str | None = None,
    ) -> dict[str, Any]:
        """Score a store's clips of the classes this model knows.

        Args:
            store: A prepared store or its folder, with tokens of the model's backbone.
            split: Which clips.
            out: A .csv, .parquet or .json file for the results of each clip
                (`cign.inference.clip_results.ClipResults`); None writes none.

        Returns:
            ``readings``: for each the named numbers of ``metrics.json`` for a single task and the
            95 % interval of accuracy, in percent. ``classes``: recall of each class, audio-visual,
            with its interval. ``confusions``: the most frequent ones. ``open_set`` where the store
            has clips of classes the model does not know.

        Raises:
            InputError: If the store does not fit the model or has no such clip, or ``out`` has
                another suffix.
        """
        place = None if out is None else Path(out)
        return evaluate_model(self._trained(), self.config, _opened(store), split, place)

    @classmethod
    def load(cls, folder: Path | str, *, device: str | None = None) -> Learner:
        """Read a MODEL folder, the model of a RUN, or ``owner/name`` on a hub of models.

        Args:
            folder: Where it is.
            device: Where it computes from now on, as the constructor takes it.

        Raises:
            InputError: If it is missing, damaged, changed or of a newer version, or this machine
                lacks the device.
        """
        place = model_place(Path(folder)).resolve()  # nothing is saved where the hub is meant
        seen = {place: checksum(place / ABOUT)} if (place / ABOUT).is_file() else {}
        model = load_model(Path(folder))
        learner = cls(
            METHODS.reference(type(model.method)),
            options=dataclasses.asdict(model.method.options),
            regime=model.regime,
            backbone=model.backbone,
            device=device,
        )
        learner.model, learner._seen = model.to(learner.config.device), seen
        return learner


def _opened(store: Store | Path | str) -> Store:
    return store if isinstance(store, Store) else Store.open(Path(store))
