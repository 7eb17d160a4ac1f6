"""One trial of the tuning: a run on synthetic dataset 1, scored with every fusion.

A trial is a file in ``WORK/trials/METHOD-mMEMORY``, named by a hash of its options; a search that
is run again reads the trials that exist.
"""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import torch
import yaml
from tuning_search import Point, Search, Space

from cign.bench.worker import failure_of
from cign.data.clips import hash_lines
from cign.data.store import Store
from cign.data.tasks import split_into_tasks
from cign.errors import InputError, RunError
from cign.layers.fusion import Fusion, fuse, scores_of
from cign.methods import METHODS, default_recipe, method_class
from cign.metrics.incremental import summarise
from cign.metrics.predictions import Predictions
from cign.runs.build import build_loop
from cign.runs.configuration import RunConfig
from cign.runs.training_data import TrainingData, fitting_backbone
from cign.tuning.bases import BASE, base_options, has_training, shared
from cign.utils.code_version import PACKAGE, code_version
from cign.utils.files import read_json, write_json
from cign.utils.options import configure, leaves, with_settings
from cign.utils.pool import Message, Send, serve
from cign.vocabulary import MODALITIES, UNIMODAL

NUM_TASKS = 4
FORMAT = 1


def tuned_methods() -> list[str]:
    """Names of the methods whose recipe says what is tuned."""
    return [name for name in METHODS if default_recipe(name).tuning]


def varies_something(method: str) -> bool:
    """Whether a recipe has anything to search; the trial of others compares the fusions."""
    tuning = default_recipe(method).tuning
    return "axes" in tuning or "bases" in tuning


def space_of(method: str) -> Space:
    """The options that are varied for a method, from its recipe and ``shared.yaml``."""
    tuning = default_recipe(method).tuning
    bases = tuning.get("bases", [])
    implied = {
        base: {
            name: value
            for name, value in leaves(shared()["bases"][base]).items()
            if name in shared()["axes"]
        }
        for base in bases
    }
    own = tuning.get("axes", {})
    axes: dict[str, Any] = {BASE: bases} if len(bases) > 1 else {}
    start: Point = {BASE: bases[0], **implied[bases[0]]} if bases else {}
    if has_training(method):
        axes |= shared()["axes"]
    for name, values in own.items():
        axes[name] = sorted(values) if _are_numbers(values) else values
        start[name] = values[0]
    return Space(
        axes=axes, start=start, implied=implied, allows=lambda point: _is_valid(method, point)
    )


def _is_valid(method: str, point: Point) -> bool:
    """Whether a method accepts the options: some have an effect only beside others."""
    try:
        configure(method_class(method).Options, options_of(method, point), "trial")
    except InputError:
        return False
    return True


def options_of(method: str, point: Point) -> dict[str, Any]:
    """All options that a trial sets; the others keep the method's defaults.

    A recipe that varies nothing is tried as it is: its settings are selected from the clips.
    """
    recipe = default_recipe(method)
    if not varies_something(method):
        return dict(recipe.options)
    settings = dict(point)
    base = settings.pop(BASE, None)
    options = base_options(method, base, recipe.tuning.get("fixed", {}))
    return with_settings(options, [f"{name}={yaml.safe_dump(v)}" for name, v in settings.items()])


def _are_numbers(values: list[Any]) -> bool:
    return all(isinstance(one, int | float) and not isinstance(one, bool) for one in values)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trials:
    """The trials of a method with one memory.

    Attributes:
        method: Its name.
        memory: Budget of exemplars.
        store: Folder of the store.
        work: Folder of the trials.
        deadline: Time at which no trial begins any more; None for no limit.
    """

    method: str
    memory: str
    store: Path
    work: Path
    deadline: float | None = None

    @property
    def folder(self) -> Path:
        """Folder of the files."""
        return (
            self.work
            / "trials"
            / f"{self.method}-m{self.memory}".replace(":", ".").replace("/", "-")
        )

    def path(self, point: Point) -> Path:
        """The file of a trial."""
        filled: Any = configure(
            method_class(self.method).Options, options_of(self.method, point), "trial"
        )
        return self.folder / f"{hash_lines([repr(filled)])[:16]}.json"

    def result(self, point: Point) -> dict[str, Any]:
        """The result of a trial, which is made if it does not exist.

        Raises:
            TimeoutError: If it does not exist and the time is over.
        """
        path = self.path(point)
        if path.is_file():
            return read_json(path, "trial")
        if self.deadline is not None and time.time() > self.deadline:
            raise TimeoutError
        result = self._make(point)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, result)
        return result

    def search(self) -> Search:
        """The search among the options of the method, to be run."""
        return Search(
            space=space_of(self.method),
            score=lambda point: float(max(self.result(point)["fusions"])),
            budget=shared()["trials"],
        )

    def _make(self, point: Point) -> dict[str, Any]:
        store = Store.open(self.store)
        config = RunConfig.of(
            METHODS.reference(method_class(self.method)),
            options=options_of(self.method, point),
            tasks=split_into_tasks(store.class_names, NUM_TASKS, 0).groups,
            backbone=fitting_backbone(store, METHODS.reference(method_class(self.method))),
            memory=self.memory,
            device="cpu",
            bf16=True,
        )
        begun = time.process_time()
        loop = build_loop(config, TrainingData.open(config, store))
        last, fusions = dict.fromkeys(MODALITIES, 0.0), [0.0] * len(shared()["fusions"])
        try:
            loop.run()
        except RunError as error:  # a learning rate may be too high, which has no accuracy
            if error.code != "diverged":
                raise
        else:
            last = {modality: last_of(loop.predictions, modality) for modality in MODALITIES}
            fusions = [fused_last(loop.predictions, Fusion(**one)) for one in shared()["fusions"]]
        return {
            "format": FORMAT,
            "point": point,
            "last": last,
            "fusions": fusions,
            "cpu_seconds": round(time.process_time() - begun, 2),
            "code": code_version(PACKAGE),
        }


def last_of(predictions: Predictions, modality: str) -> float:
    """Last accuracy of a modality, in percent."""
    return float(summarise(predictions)[modality]["last"])


def fused_last(predictions: Predictions, fusion: Fusion) -> float:
    """Last audio-visual accuracy with a fusion, in percent."""
    if fusion.kind == "own":
        return last_of(predictions, "audio_visual")
    last = predictions.scores[-1]
    scores = {m: scores_of(torch.from_numpy(last[m]), multi_label=False) for m in UNIMODAL}
    fused = {**last, "audio_visual": fuse(scores, fusion, multi_label=False).numpy()}
    again = dataclasses.replace(predictions, scores=[*predictions.scores[:-1], fused])
    return last_of(again, "audio_visual")


def work(task: dict[str, Any], send: Send) -> Message:
    """Search for a method with one memory, for the parent process.

    Args:
        task: ``method``, ``memory``, ``store``, ``work``; ``deadline`` or None.
        send: Not used.
    """
    trials = Trials(
        method=task["method"],
        memory=task["memory"],
        store=Path(task["store"]),
        work=Path(task["work"]),
        deadline=task["deadline"],
    )
    search = trials.search()
    try:
        search.run()
    except TimeoutError:
        return {"unfinished": len(search.scores)}
    except Exception as error:  # a failed search must not stop the others
        return failure_of(error)
    return {"trials": len(search.scores)}


def main() -> None:
    """Make the searches that the parent process asks for."""
    torch.set_num_threads(1)
    serve(work)


if __name__ == "__main__":
    main()
