"""The commands that faults are injected into: how each begins and goes on, and its result."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faults.children import finished, run_child
from faults.results import bench_result, model_result, run_result, store_result

SYNTH = ["--classes", "4", "--train", "4", "--val", "1", "--test", "2", "--seconds", "1"]
QUICK = "{num_epochs: 6, min_steps: 0, batch_size: 4}"
RECIPES = {
    "finetune": f"method: finetune\noptions:\n  training: {QUICK}\n",
    "analytic": "method: analytic\noptions: {width: 30, ridge: [1.0], batch_size: 8}\n",
    "model": "method: cign_analytic\noptions: {width: 60, ridge: [5.0], batch_size: 8}\n",
}
CHANGES = ("add", "merge", "forget", "replace", "resolve", "thresholds")
"""Cases that change a model."""

STREAMS = {
    "train blurry": ["--stream", "blurry", "--blurry-share", "0.3"],
    "train online": ["--stream", "online", "--evaluations", "3"],
    "train fewshot": ["--stream", "fewshot", "--shots", "2"],
}
"""Cases of streams other than tasks, with their options."""

COMMANDS = ("prepare", "train", "bench", *CHANGES, *STREAMS)


@dataclass
class Case:
    """A command in a folder of its own.

    Attributes:
        name: Of the case.
        place: The folder that it writes.
        arguments: Of the first try.
        result: What is compared with a run that was never disturbed.
        before: Its place as it was before, copied for each trial; None if it did not exist.
        at_begin: Result of the place before the command, if it changes a model.
    """

    name: str
    place: Path
    arguments: list[object]
    result: Callable[[Path], dict[str, Any]]
    before: Path | None = None
    at_begin: dict[str, Any] = field(default_factory=dict)

    def reset(self) -> None:
        """Have the place as it was before the command."""
        shutil.rmtree(self.place, ignore_errors=True)
        if self.before is not None:
            shutil.copytree(self.before, self.place)

    def again(self) -> list[object] | None:
        """What a user runs after a fault; None if all is done already."""
        if self.arguments[0] == "train" and (self.place / "config.yaml").exists():
            return [*self.arguments, "--resume"]
        if self.at_begin and self.result(self.place) != self.at_begin:
            return None
        return self.arguments


class World:
    """Clips, stores and models below a folder, and the cases made of them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.log = root / "log"
        self.clips, self.store, self.model = root / "clips", root / "store", root / "old-model"

    def build(self) -> None:
        """Render, prepare and train, in children; nothing is done if it was done before."""
        if (self.root / "other-model").exists():
            return
        self.root.mkdir(parents=True, exist_ok=True)
        for name, text in RECIPES.items():
            (self.root / f"{name}.yaml").write_text(text)
        self.must("synth", self.clips, *SYNTH, "--size", 64, "--workers", 1)
        backbone = ["--backbone", "small-random", "--workers", 0]
        self.must("prepare", self.clips, self.store, *backbone)
        self._write_lists()
        old = self.root / "old-store"
        self.must("prepare", self.root / "old.csv", old, "--media", self.clips, *backbone)
        recipe = ["--recipe", self.root / "model.yaml", "--tasks", 2]
        for store, place in ((old, self.model), (self.store, self.root / "other-model")):
            run = self.root / f"{place.name}-run"
            self.must("train", store, "--out", run, *recipe)
            shutil.copytree(run / "model", place)

    def _write_lists(self) -> None:
        """Lists of clips: known, new, to be forgotten, and with corrected labels."""
        with (self.clips / "clips.csv").open() as file:
            rows = list(csv.DictReader(file))
        *old, new = dict.fromkeys(row["labels"] for row in rows)
        learned = [row for row in rows if row["labels"] in old and row["split"] == "train"]
        first = {label: next(r for r in learned if r["labels"] == label) for label in old}
        corrected = {**first[old[0]], "labels": old[1]}
        self._write_list("old", (row for row in rows if row["labels"] in old))
        self._write_list("new", (row for row in rows if row["labels"] == new))
        self._write_list("forget", first.values())
        self._write_list("replace", (corrected,))

    def _write_list(self, name: str, rows: Iterable[dict[str, str]]) -> None:
        with (self.root / f"{name}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, ["path", "labels", "split"], extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)

    def must(self, *arguments: object) -> None:
        """Run a command that has to succeed."""
        done = finished(run_child(arguments, self.log), self.log)
        assert done.code == 0, done.err

    def case(self, name: str, place: Path | None = None, workers: int = 0) -> Case:
        """A case by its name.

        Args:
            name: Of `COMMANDS`.
            place: The folder that it writes; None for a folder of its own.
            workers: Decoding processes.
        """
        place = place or self.root / "trials" / name.replace(" ", "-")
        place.parent.mkdir(parents=True, exist_ok=True)
        if name in CHANGES:
            arguments = self._change(name, place, ["--workers", workers])
            return Case(name, place, arguments, model_result, self.model, model_result(self.model))
        if name == "prepare":
            how = ["--backbone", "small-random", "--workers", workers]
            return Case(name, place, ["prepare", self.clips, place, *how], store_result)
        if name == "bench":
            what = ["--methods", "finetune,analytic", "--tasks", 2, "--memory", 8]
            what += ["--recipes", self.root, "--against", "analytic"]
            arguments = ["bench", self.store, "--out", place, *what, "--workers", 2]
            return Case(name, place, arguments, bench_result)
        assert name == "train" or name in STREAMS
        recipe = ["--recipe", self.root / "finetune.yaml", "--memory", 8, "--tasks", 2]
        arguments = ["train", self.store, "--out", place, *recipe, *STREAMS.get(name, ())]
        return Case(name, place, arguments, run_result)

    def _change(self, name: str, model: Path, workers: list[object]) -> list[object]:
        """The arguments of a command that changes a model."""
        clips = ["--media", self.clips, *workers]
        return {
            "add": ["add", model, self.root / "new.csv", *clips],
            "merge": ["merge", model, self.root / "other-model", "--settings", "A"],
            "forget": ["forget", model, self.root / "forget.csv", *clips],
            "replace": ["add", model, self.root / "replace.csv", "--replace", *clips],
            "resolve": ["resolve", model, "--ridge", "7"],
            "thresholds": ["thresholds", model, self.root / "old-store", "--precision", "0.8"],
        }[name]
