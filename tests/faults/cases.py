"""The commands that faults are injected into: how each is begun and gone on with, and its result.

Everything runs in forked children of a process that never computes itself: a fork after decoding
or after a product of matrices may hang.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cign.saved_model.files import current_number, folder_in_use

SYNTH = ["--classes", "4", "--train", "4", "--val", "1", "--test", "2", "--seconds", "1"]
QUICK = "{num_epochs: 6, min_steps: 0, batch_size: 4}"
RECIPES = {
    "finetune": f"method: finetune\noptions:\n  training: {QUICK}\n",
    "analytic": "method: analytic\noptions: {width: 30, ridge: [1.0], batch_size: 8}\n",
    "model": "method: cign_analytic\noptions: {width: 60, ridge: [5.0], batch_size: 8}\n",
}


@dataclass(frozen=True)
class Outcome:
    """How a child ended: its exit code (negative: the signal), and what it printed."""

    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """The one sentence of an error.

        Raises:
            AssertionError: If there is a traceback, or not exactly one sentence.
        """
        assert "Traceback" not in self.err, self.err
        lines = [line for line in self.err.splitlines() if line.startswith("cign: ")]
        assert lines, self
        assert "internal error" not in lines[-1], lines[-1]
        return lines[-1]


def run_child(arguments: Sequence[object], log: Path, arm: Callable[[], None] | None = None) -> int:
    """Fork a child that runs a command; gives its process id."""
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        for name, number in (("out", 1), ("err", 2)):
            descriptor = os.open(f"{log}.{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(descriptor, number)
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", closefd=False, buffering=1)  # noqa: SIM115
        from cign.cli.entry_point import main
        from cign.learner import Learner

        # Checkpoints within a phase too, which a run of seconds would not come to.
        Learner.learn.__kwdefaults__["checkpoint_every_s"] = 0.1
        if arguments[0] == "bench" and os.environ.get("BENCH_IN_ONE_PROCESS"):
            run_in_one_process()
        if arm is not None:
            arm()
        code = main([str(argument) for argument in arguments])
        sys.stdout.flush()
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(code)
    return 0


def run_in_one_process() -> None:
    """Let a bench make its runs in its own process, where they die with it, and start faster."""
    import cign.bench.cluster as module

    original = module.run_all
    module.run_all = lambda jobs, _, *rest: original(jobs, 0, *rest)


def finished(child: int, log: Path) -> Outcome:
    """Wait for a child."""
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    out, err = (Path(f"{log}.{name}") for name in ("out", "err"))
    texts = [path.read_text() if path.exists() else "" for path in (out, err)]
    return Outcome(code, *texts)


@dataclass
class Case:
    """A command in a folder of its own.

    Attributes:
        name: Of the command.
        place: The folder that it writes.
        arguments: Of the first try.
        before: Its place as it was before, copied for each trial; None if it did not exist.
        result: What is compared with a run that was never disturbed.
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
        if self.name == "train" and (self.place / "config.yaml").exists():
            return [*self.arguments, "--resume"]
        if self.name == "add" and self.result(self.place) != self.at_begin:
            return None
        return self.arguments


class World:
    """Clips, stores and a model below a folder, and the cases made of them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.log = root / "log"
        self.clips, self.store = root / "clips", root / "store"

    def build(self) -> None:
        """Render and prepare, in children."""
        self.root.mkdir(parents=True, exist_ok=True)
        for name, text in RECIPES.items():
            (self.root / f"{name}.yaml").write_text(text)
        self.must("synth", self.clips, *SYNTH, "--size", 64, "--workers", 1)
        backbone = ["--backbone", "small-random", "--workers", 0]
        self.must("prepare", self.clips, self.store, *backbone)
        with (self.clips / "clips.csv").open() as file:
            rows = list(csv.DictReader(file))
        classes = list(dict.fromkeys(row["labels"] for row in rows))
        for name, chosen in (("old", classes[:-1]), ("new", classes[-1:])):
            with (self.root / f"{name}.csv").open("w", newline="") as file:
                writer = csv.DictWriter(file, ["path", "labels", "split"], extrasaction="ignore")
                writer.writeheader()
                writer.writerows(row for row in rows if row["labels"] in chosen)
        media = ["--media", self.clips]
        old = self.root / "old-store"
        self.must("prepare", self.root / "old.csv", old, *media, *backbone)
        run = self.root / "old-run"
        recipe = ["--recipe", self.root / "model.yaml"]
        self.must("train", old, "--out", run, *recipe, "--tasks", 2)
        shutil.copytree(run / "model", self.root / "old-model")

    def must(self, *arguments: object) -> None:
        """Run a command that has to succeed."""
        done = finished(run_child(arguments, self.log), self.log)
        assert done.code == 0, done.err

    def case(self, name: str, place: Path | None = None, workers: int = 0) -> Case:
        """A case by the name of its command."""
        place = place or self.root / "trials" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        how = ["--workers", workers]
        if name == "prepare":
            backbone = ["--backbone", "small-random"]
            return Case(name, place, ["prepare", self.clips, place, *backbone, *how], store_result)
        if name == "train":
            recipe = ["--recipe", self.root / "finetune.yaml", "--memory", 8]
            arguments = ["train", self.store, "--out", place, *recipe, "--tasks", 2]
            return Case(name, place, arguments, run_result)
        if name == "bench":
            what = ["--methods", "finetune,analytic", "--tasks", 2, "--memory", 8]
            what += ["--recipes", self.root, "--against", "analytic"]
            arguments = ["bench", self.store, "--out", place, *what, "--workers", 2]
            return Case(name, place, arguments, bench_result)
        assert name == "add"
        arguments = ["add", place, self.root / "new.csv", "--media", self.clips, *how]
        before = self.root / "old-model"
        return Case(name, place, arguments, model_result, before, model_result(before))


def names(folder: Path) -> list[str]:
    """All that lies in a folder but locks, also what an interrupted write has left."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.name != ".lock")


def digest(path: Path) -> str:
    """Hash of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def store_result(place: Path) -> dict[str, Any]:
    """Every byte of a store."""
    return {name: digest(place / name) for name in names(place) if (place / name).is_file()}


def run_result(place: Path) -> dict[str, Any]:
    """Model, predictions and embeddings of a run byte for byte, and its numbers."""
    metrics = json.loads((place / "metrics.json").read_text())
    files = ("model/model.safetensors", "predictions.parquet", "embeddings.parquet")
    kept = ("modalities", "losses", "tasks", "status")
    return {
        "names": names(place),
        **{name: digest(place / name) for name in files},
        **{name: metrics[name] for name in kept},
    }


def bench_result(place: Path) -> dict[str, Any]:
    """The table without what differs from time to time, and the predictions of each run."""
    with (place / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        del row["seconds"], row["peak_memory_mb"]
    files = sorted(place.glob("runs/*/predictions.parquet"))
    return {
        "names": [name for name in names(place) if not name.endswith("worker.log")],
        "rows": rows,
        **{str(path.relative_to(place)): digest(path) for path in files},
    }


def model_result(place: Path) -> dict[str, Any]:
    """What a reader of a model sees: weights, kept clips, classes, number of its version."""
    about: dict[str, Any] = {}
    with contextlib.suppress(FileNotFoundError):
        about = json.loads((folder_in_use(place) / "model.json").read_text())
    kept = ("checksums", "classes", "kept", "unknown_threshold")
    # The first version has no number until a second one is written.
    return {"number": current_number(place) or 1, **{name: about.get(name) for name in kept}}
