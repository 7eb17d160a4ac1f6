"""The public class `Learner`: learn, evaluate, load. `cign.trained` has the other methods."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from cign.backbones.registry import resolve_name
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
from cign.runs.record import describe, with_original_costs
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
        method: Name of the method; default: `cign_analytic`, which stores no clips.
        options: Options of the method instead of its recipe; those left out have the defaults of
            the dataclass ``Options``, not the values of the recipe. None takes the recipe.
        regime: ``frozen`` on cached tokens or ``end-to-end``.
        backbone: Backbone whose tokens are read; None takes the only one in the store.
        memory: Budget of exemplars: ``"120"``, ``"20/class"`` or ``"64MB"``.
        selection: ``herding`` or ``random``.
        seed: Seed of weights, shuffling and noise.
        allow_missing: Whether training includes clips that lack audio or video.
        bf16: Whether encoders and transformers compute in bfloat16, which is several times faster
            on processors with bfloat16 units; losses and linear heads stay float32.
        device: Compute device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``; None and
            ``auto`` take a GPU if there is one.

    Raises:
        InputError: If a name or a value is unknown, or this machine does not have the device.
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
        """Learn all classes of a store, task by task.

        Args:
            store: A prepared store or its folder.
            tasks: Number of tasks, or the tasks themselves.
            order: Class-order seed, 0 for the order of the data; if ``tasks`` is a sequence, it is
                only recorded.
            out: RUN folder for configuration, checkpoints, metrics, predictions and model.
            resume: Resume the run in ``out`` with its saved configuration.
            checkpoint_every_s: Seconds between checkpoints.
            test_store: A store with the same classes whose test clips are scored instead of the
                store's own.
            branch_from: ``RUN@TASK``: start from the state of a run after one of its tasks, which
                must have been saved (``keep_tasks``). Options, seed and later tasks may differ
                from that run; if ``tasks`` is a number, the tasks of that run are used.
            keep_tasks: Save the state after each task in ``out``.
            progress: Receives the progress of steps; None shows a bar in a terminal or notebook,
                False shows none.

        Returns:
            This learner; `metrics` holds the contents of ``metrics.json``.

        Raises:
            InputError: If stores, tasks and folder do not match.
        """
        store = _opened(store)
        tested = None if test_store is None else _opened(test_store)
        branch = None if branch_from is None else Branch.parse(branch_from)
        folder, comm = None if out is None else Path(out), current()
        how = {"resume": resume, "keep_tasks": keep_tasks}
        with displayed(progress if comm.is_first or progress else False) as shown:
            loop = self._begin(store, tested, branch, folder, tasks, order, resume, shown)
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
        """Complete the configuration and build the run; errors occur before anything is written."""
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
        """Set tasks and backbone from the store and from the run that is branched from."""
        if isinstance(tasks, int) and branch is not None:
            tasks, order = TaskSequence(branch.config.tasks), branch.config.order
        elif isinstance(tasks, int):
            tasks = split_into_tasks(store.class_names, tasks, order)
        backbone = None if self._backbone_name is None else resolve_name(self._backbone_name)
        if self.config.regime == "frozen":
            name = backbone or fitting_backbone(store, self.config.method)
            backbone = source_of(store.tokens(name).info)
        self.config = dataclasses.replace(
            self.config, tasks=tasks.groups, order=order, backbone=backbone or "small"
        )
        if branch is not None:
            self.config = branch.configured(self.config)

    def _finish(self, loop: Loop, store: Store, tested: Store | None, folder: Path | None) -> Self:
        """Turn the finished loop into a model and complete the run folder."""
        kept = kept_validation_clips(self.config, loop.clips, store)
        num_bytes = 0 if kept is None else kept.num_bytes
        self.metrics = describe(self.config, loop, store, tested, validation_bytes=num_bytes)
        self.model = model_of(self.config, loop, store, kept, self.metrics["modalities"])
        self._backbone = None  # belongs to the previous model
        if folder is not None:
            self.metrics = with_original_costs(folder, self.metrics)
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
        """Evaluate the model on those clips of a store whose classes it knows.

        Args:
            store: A prepared store or its folder, with tokens of the model's backbone.
            split: Split of the clips.
            out: A .csv, .parquet or .json file for the results of each clip
                (`cign.inference.clip_results.ClipResults`); None writes no file.

        Returns:
            ``modalities``: for each modality the metrics of ``metrics.json`` for a single task and
            the 95 % interval of accuracy, in percent. ``classes``: recall of each class,
            audio-visual, with its interval. ``confusions``: the most frequent ones. ``open_set``,
            if the store has clips of unknown classes.

        Raises:
            InputError: If the store does not match the model or has no such clip, or ``out`` has
                another suffix.
        """
        place = None if out is None else Path(out)
        return evaluate_model(self._trained(), self.config, _opened(store), split, place)

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
