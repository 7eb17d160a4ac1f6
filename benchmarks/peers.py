"""Times of learning on cached features against other implementations of the same methods.

    python benchmarks/peers.py --pycil FOLDER --mammoth FOLDER

writes ``benchmarks/results/peers.md``. The folders are clones of LAMDA-CL/PyCIL and
aimagelab/mammoth; without one its rows say so. Their own code takes the steps, on batches that are
made in advance, while ours includes reading, shuffling, seeding and the record of the losses. Both
take turns in one process with one thread, and processor time counts.

Theirs has one head, on the features of both modalities; ours has three. Therefore a second row has
three of their learners, one for each of our heads. RanPAC's equations are two products and a
solution, which plain torch computes here in float32, as its release does.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.util
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar
from unittest.mock import MagicMock, patch

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from cign.data.batches import ArraySource
from cign.data.exemplar_memory import ExemplarMemory, MemoryBudget
from cign.data.tasks import TaskClips, split_into_tasks
from cign.methods import method_class
from cign.methods.base import Setup, TaskData
from cign.methods.phases import Phase
from cign.metrics.predictions import Predictions
from cign.networks.encoder import TokenShape
from cign.training.loop import Loop
from cign.utils.code_version import PACKAGE, code_version, described
from cign.utils.files import write_text
from cign.utils.options import configure
from cign.vocabulary import MODALITIES

sys.path.append(str(Path(__file__).parent / "speed"))
from part import machine

OUT = Path(__file__).parent / "results" / "peers.md"
DIM, NUM_OLD, NUM_NEW, PER_CLASS = 512, 9, 9, 60
BATCH, NUM_EPOCHS, ROUNDS = 32, 30, 7
STEPS = NUM_EPOCHS * -(-NUM_NEW * PER_CLASS // BATCH)
HERDINGS = ((9, 60, 5), (9, 500, 20))
WIDTH, NUM_TASKS, RIDGE = 2000, 4, 100.0
MISSING = "not installed"


@dataclass(frozen=True)
class Comparison:
    """Processor times of one piece of work, in seconds; an implementation that is absent has none.

    Attributes:
        what: The work.
        who: The other implementation.
        ours: Seconds of each round.
        theirs: Seconds of each round; empty if it is not installed.
        times: Number of repetitions in a round.
    """

    what: str
    who: str
    ours: list[float]
    theirs: list[float]
    times: int

    def row(self) -> str:
        """A row of the table."""
        if not self.theirs:
            return f"| {self.what} | {self.who} | | | {MISSING} |"
        mine, other = (1e6 * statistics.median(x) / self.times for x in (self.ours, self.theirs))
        ratios = [b / a for a, b in zip(self.ours, self.theirs, strict=True)]
        return (
            f"| {self.what} | {self.who} | {mine:,.0f} | {other:,.0f} | "
            f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) |"
        )


def in_turns(
    what: str, who: str, ours: Callable[[], float], theirs: Callable[[], float] | None, times: int
) -> Comparison:
    """Time two functions in turns; each returns the seconds that count."""
    if theirs is None:
        return Comparison(what, who, [], [], times)
    ours(), theirs()
    pairs = [(ours(), theirs()) for _ in range(ROUNDS)]
    return Comparison(what, who, [a for a, _ in pairs], [b for _, b in pairs], times)


def timed(function: Callable[[], object]) -> float:
    """Processor time of a call."""
    began = time.process_time()
    function()
    return time.process_time() - began


# ----------------------------------------------------------------------- clips


@dataclass(frozen=True)
class Clips:
    """Features of clips around class centres; `labels` are in order."""

    audio: np.ndarray
    visual: np.ndarray
    labels: np.ndarray

    @classmethod
    def drawn(cls, num_classes: int, per_class: int) -> Clips:
        """Draw the features."""
        rng = np.random.default_rng(0)
        labels = np.repeat(np.arange(num_classes), per_class)
        parts = (
            (
                rng.normal(size=(num_classes, 1, DIM))[labels]
                + rng.normal(size=(len(labels), 1, DIM))
            )
            for _ in range(2)
        )
        audio, visual = (part.astype(np.float32) for part in parts)
        return cls(audio, visual, labels)

    @property
    def both(self) -> np.ndarray:
        """Features of both modalities beside each other, [N, 2 D]."""
        return np.concatenate([self.audio[:, 0], self.visual[:, 0]], axis=1)

    def of(self, modality: str) -> np.ndarray:
        """Features of a modality or of both, [N, D] or [N, 2 D]."""
        return self.both if modality == "audio_visual" else getattr(self, modality)[:, 0]


def loop_of(clips: Clips, name: str, num_tasks: int, memory: str, values: dict[str, Any]) -> Loop:
    """Our loop over the clips."""
    num_classes = int(clips.labels.max()) + 1
    names = [f"class {c:03d}" for c in range(num_classes)]
    labels = [(names[c],) for c in clips.labels]
    tasks = TaskClips.of(labels, split_into_tasks(names, num_tasks))
    cls = method_class(name)
    shape = TokenShape(audio_dim=DIM, visual_dim=DIM, num_audio_tokens=1, num_visual_tokens=1)
    torch.manual_seed(0)
    return Loop(
        method=cls(Setup(shape=shape), configure(cls.Options, values, "benchmark")),
        clips=tasks,
        source=ArraySource(lambda i: clips.audio[i], lambda i: clips.visual[i], 4096, ahead=0),
        train=np.arange(len(labels)),
        test=np.arange(2),
        memory=ExemplarMemory(MemoryBudget.parse(memory)),
        predictions=Predictions(
            clip_ids=["0", "1"],
            labels=labels[:2],
            class_names=tasks.tasks.class_order,
            task_sizes=tasks.tasks.sizes,
        ),
    )


# ------------------------------------------------------------------ a training step


def our_steps(clips: Clips, name: str, memory: str) -> float:
    """Time of the training phase of the second task."""
    training = {
        "num_epochs": NUM_EPOCHS, "batch_size": BATCH, "learning_rate": 0.01, "optimizer": "sgd",
        "weight_decay": 2e-4,
    }  # fmt: skip
    loop = loop_of(clips, name, 2, memory, {"training": training})
    seconds: dict[tuple[int, str], float] = {}
    run_phase = loop._run_phase

    def phase_timed(task: int, number: int, phase: Phase) -> None:
        seconds[task, phase.name] = timed(lambda: run_phase(task, number, phase))

    loop._run_phase = phase_timed  # type: ignore[method-assign]
    loop.run()
    steps = sum(entry["task"] == 1 and entry["phase"] == "train" for entry in loop.losses)
    assert steps == NUM_EPOCHS
    return seconds[1, "train"]


def batches(clips: Clips, classes: range, modality: str) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Batches of clips of some classes, with their number first."""
    rows = np.random.default_rng(1).permutation(np.flatnonzero(np.isin(clips.labels, classes)))
    inputs, labels = (
        torch.from_numpy(clips.of(modality)[rows]),
        torch.from_numpy(clips.labels[rows]),
    )
    number = torch.from_numpy(rows)
    return list(zip(number.split(BATCH), inputs.split(BATCH), labels.split(BATCH), strict=True))


class Features(nn.Module):
    """Instead of a convolutional network: the features themselves."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.out_dim = dim

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """The features, under the name that PyCIL expects."""
        return {"features": x}


class PyCIL:
    """The training of PyCIL's learners in a second task.

    Args:
        folder: The clone.
    """

    NAMES: ClassVar = {"icarl": "iCaRL", "lwf": "LwF", "ewc": "EWC", "bic": "BiC"}

    def __init__(self, folder: Path) -> None:
        sys.path.insert(0, str(folder))
        self.commit = commit_of(folder)
        self.modules = {name: importlib.import_module(f"models.{name}") for name in self.NAMES}
        self.base = importlib.import_module("models.base")
        networks: Any = importlib.import_module("utils.inc_net")
        networks.get_convnet = lambda arguments, *_: Features(arguments["dim"])
        sys.path.pop(0)

    def learner(self, name: str, dim: int) -> Any:
        """A learner that has seen the old classes."""
        arguments = {
            "memory_size": 0, "memory_per_class": 5, "fixed_memory": True, "convnet_type": "",
            "device": ["cpu"], "dim": dim,
        }  # fmt: skip
        torch.manual_seed(0)
        learner = getattr(self.modules[name], self.NAMES[name])(arguments)
        learner._compute_accuracy = lambda *_: 0.0
        learner._network.update_fc(NUM_OLD)
        learner._total_classes, learner._cur_task = NUM_OLD, 0
        return learner

    def steps(self, clips: Clips, name: str, modality: str) -> float:
        """Time of the steps in the second task."""
        module: Any = self.modules[name]
        learner = self.learner(name, clips.of(modality).shape[1])
        old = batches(clips, range(NUM_OLD), modality)
        if name == "ewc":
            learner.fisher = learner.getFisherDiagonal(old)
            learner.mean = {n: p.clone().detach() for n, p in learner._network.named_parameters()}
        learner.after_task()
        learner._known_classes, learner._total_classes = NUM_OLD, NUM_OLD + NUM_NEW
        learner._cur_task = 1
        learner._network.update_fc(NUM_OLD + NUM_NEW)
        new = batches(clips, range(NUM_OLD, NUM_OLD + NUM_NEW), modality)
        optimizer = torch.optim.SGD(
            learner._network.parameters(), lr=0.01, momentum=0.9, weight_decay=2e-4
        )
        scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [10**6])
        quiet = (
            patch.object(module, "tqdm", QuietRange) if name != "bic" else contextlib.nullcontext()
        )
        with patch.object(module, "epochs", NUM_EPOCHS), quiet:
            if name == "bic":
                learner.lamda = NUM_OLD / (NUM_OLD + NUM_NEW)
                return timed(lambda: learner._run(new, old, optimizer, scheduler, "training"))
            return timed(lambda: learner._update_representation(new, old, optimizer, scheduler))

    def herding(self, features: np.ndarray, per_class: int, count: int) -> float:
        """Time of choosing exemplars of all classes."""
        learner = self.learner("icarl", features.shape[1])
        num_classes = len(features) // per_class
        learner._known_classes, learner._total_classes = 0, num_classes
        learner._class_means = np.zeros((num_classes, features.shape[1]))

        def of_class(classes: Any, appendent: Any = None, ret_data: bool = False, **_: Any) -> Any:
            if not ret_data:
                return None, appendent[0], appendent[1]
            rows = slice(int(classes[0]) * per_class, (int(classes[0]) + 1) * per_class)
            data, labels = features[rows], np.full(per_class, classes[0])
            return data, labels, (None, data, labels)

        def loader(dataset: Any, **_: Any) -> list[tuple[None, Tensor, Tensor]]:
            return [(None, *(torch.from_numpy(np.asarray(part)) for part in dataset[1:]))]

        manager = SimpleNamespace(get_dataset=lambda classes, **more: of_class(classes, **more))
        with patch.object(self.base, "DataLoader", loader):
            return timed(lambda: learner._construct_exemplar(manager, count))


class QuietRange:
    """A progress bar that shows nothing."""

    def __init__(self, steps: range) -> None:
        self.steps = steps

    def __iter__(self) -> Iterator[int]:
        return iter(self.steps)

    def set_description(self, text: str) -> None:
        """Ignore the description."""


class Backbone(nn.Module):
    """A linear head on features, called as Mammoth's networks are."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.classifier = nn.Linear(dim, NUM_OLD + NUM_NEW)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of all classes."""
        return self.classifier(x)  # type: ignore[no-any-return]


class Mammoth:
    """Steps of Mammoth's methods in a second task.

    Args:
        folder: The clone. Of its modules only those of the methods are imported; what they import
            is for images and the command line, and is replaced.
    """

    NAMES: ClassVar = {"icarl": "ICarl", "lwf": "Lwf"}
    REPLACED = (
        *("datasets", "models", "models.utils", "models.utils.continual_model", "utils"),
        *("utils.args", "utils.batch_norm", "utils.buffer", "torchvision"),
        "torchvision.transforms",
    )

    def __init__(self, folder: Path) -> None:
        self.commit = commit_of(folder)
        replaced: dict[str, Any] = {name: MagicMock() for name in self.REPLACED}
        replaced["models.utils.continual_model"].ContinualModel = nn.Module
        self.modules: dict[str, ModuleType] = {}
        with patch.dict(sys.modules, replaced):
            for name in self.NAMES:
                path = folder / "models" / f"{name}.py"
                spec = importlib.util.spec_from_file_location(f"mammoth_{name}", path)
                assert spec is not None
                assert spec.loader is not None
                self.modules[name] = importlib.util.module_from_spec(spec)
                spec.loader.exec_module(self.modules[name])

    def steps(self, clips: Clips, name: str, modality: str) -> float:
        """Time of the steps in the second task."""
        cls = getattr(self.modules[name], self.NAMES[name])
        model = cls.__new__(cls)
        nn.Module.__init__(model)
        torch.manual_seed(0)
        dim = clips.of(modality).shape[1]
        model.net, model.old_net = Backbone(dim), Backbone(dim)
        model.loss, model.device, model.current_task = nn.functional.cross_entropy, "cpu", 1
        model.n_past_classes, model.n_seen_classes = NUM_OLD, NUM_OLD + NUM_NEW
        model.eye = torch.eye(NUM_OLD + NUM_NEW)
        model.opt = torch.optim.SGD(model.net.parameters(), lr=0.01, momentum=0.9)
        model.args = SimpleNamespace(
            use_original_icarl_transform=0, opt_wd=1e-5, alpha=0.5, softmax_temp=2
        )
        model.soft = nn.Softmax(dim=1)
        new = batches(clips, range(NUM_OLD, NUM_OLD + NUM_NEW), modality)

        def train() -> None:
            # Before the task, Mammoth's LwF computes the old logits of all clips.
            with torch.no_grad():
                old = [model.old_net(inputs) if name == "lwf" else None for _, inputs, _ in new]
            for _ in range(NUM_EPOCHS):
                for (_, inputs, labels), logits in zip(new, old, strict=True):
                    model.observe(inputs, labels, inputs, logits)

        return timed(train)


# ------------------------------------------------------- herding and the sums of RanPAC


def our_herding(features: np.ndarray, per_class: int, count: int) -> float:
    """Time of choosing exemplars of all classes."""
    num_classes = len(features) // per_class
    rows = np.arange(len(features)).reshape(num_classes, per_class)
    memory = ExemplarMemory(MemoryBudget(count, "class"))
    candidates = dict(enumerate(rows))
    return timed(lambda: memory.update(candidates, num_classes, 4096, lambda i: features[i]))


def our_sums(clips: Clips, precision: str, with_solution: bool) -> float:
    """Time of the sums of four tasks with given settings, and of the solutions."""
    values = {
        "width": WIDTH, "pooling": ["mean"], "normalisation": ["layer"], "ridge": [RIDGE],
        "temperature": [0.1], "count_power": [0.0], "precision": precision,
    }  # fmt: skip
    loop = loop_of(clips, "analytic", NUM_TASKS, "0", values)
    seconds = []
    run_phase, after_task = loop._run_phase, loop.method.after_task

    def phase_timed(*arguments: Any) -> None:
        seconds.append(timed(lambda: run_phase(*arguments)))

    def solution_timed(data: TaskData) -> None:
        seconds.append(timed(lambda: after_task(data)))

    loop._run_phase = phase_timed  # type: ignore[method-assign]
    if with_solution:
        loop.method.after_task = solution_timed  # type: ignore[method-assign]
    loop.run()
    assert len(seconds) == NUM_TASKS * (1 + with_solution)
    return sum(seconds)


def ranpac_sums(clips: Clips, with_solution: bool) -> float:
    """Time of RanPAC's equations for both modalities and four tasks, in float32."""
    generator = torch.Generator().manual_seed(0)
    num_classes = int(clips.labels.max()) + 1
    project = [torch.randn(DIM, WIDTH, generator=generator) for _ in range(2)]
    inputs = [torch.from_numpy(part[:, 0]) for part in (clips.audio, clips.visual)]
    labels = torch.from_numpy(clips.labels)

    def learn() -> None:
        gram = [torch.zeros(WIDTH, WIDTH) for _ in range(2)]
        products = [torch.zeros(WIDTH, num_classes) for _ in range(2)]
        for rows in torch.arange(len(labels)).tensor_split(NUM_TASKS):
            targets = torch.zeros(len(rows), num_classes).scatter_(1, labels[rows][:, None], 1.0)
            for number, weights in enumerate(project):
                hidden = (inputs[number][rows] @ weights).relu()
                gram[number] = gram[number] + hidden.T @ hidden
                products[number] = products[number] + hidden.T @ targets
                if with_solution:
                    regular = gram[number] + RIDGE * torch.eye(WIDTH)
                    torch.linalg.solve(regular, products[number])

    return timed(learn)


# ----------------------------------------------------------------------- page


def commit_of(folder: Path) -> str:
    """The commit of a clone."""
    words = ["git", "-C", str(folder), "rev-parse", "--short", "HEAD"]
    answer = subprocess.run(words, capture_output=True, text=True, check=False)
    return answer.stdout.strip() or "unknown"


def compare(pycil: PyCIL | None, mammoth: Mammoth | None) -> Iterator[Comparison]:
    """All comparisons."""
    clips = Clips.drawn(NUM_OLD + NUM_NEW, PER_CLASS)
    peers: dict[str, PyCIL | Mammoth | None] = {"PyCIL": pycil, "Mammoth": mammoth}
    for who, names in (("PyCIL", PyCIL.NAMES), ("Mammoth", Mammoth.NAMES)):
        for name, heads in product(names, (("audio_visual",), MODALITIES)):
            # `icarl` and `bic` need exemplars; one of each class adds little to the batches.
            memory = "1/class" if method_class(name).needs_memory else "0"
            yield in_turns(
                f"a training step of `{name}`",
                f"{who}, one head" if len(heads) == 1 else f"{who}, three heads",
                partial(our_steps, clips, name, memory),
                partial(_steps, peers[who], clips, name, heads) if peers[who] else None,
                STEPS,
            )
    for num_classes, per_class, count in HERDINGS:
        features = Clips.drawn(num_classes, per_class).both
        yield in_turns(
            f"herding, {count} of {per_class} clips, {num_classes} classes",
            "PyCIL",
            partial(our_herding, features, per_class, count),
            partial(pycil.herding, features, per_class, count) if pycil else None,
            1,
        )
    many = Clips.drawn(24, PER_CLASS)
    for precision, with_solution in product(("float32", "float64"), (False, True)):
        what = "sums and solutions" if with_solution else "sums"
        yield in_turns(
            f"{what} of `analytic`, {NUM_TASKS} tasks, {WIDTH:,} features, {precision}",
            "RanPAC's equations, float32",
            partial(our_sums, many, precision, with_solution),
            partial(ranpac_sums, many, with_solution),
            1,
        )


def _steps(peer: PyCIL | Mammoth, clips: Clips, name: str, heads: Sequence[str]) -> float:
    return sum(peer.steps(clips, name, modality) for modality in heads)


def page(rows: Sequence[str], commits: Sequence[str]) -> str:
    """The page."""
    lines = [
        "# Against other implementations",
        "",
        f"`python benchmarks/peers.py --pycil FOLDER --mammoth FOLDER`, at "
        f"{described(code_version(PACKAGE, Path(__file__)))}"
        + "".join(f"; {text}" for text in commits)
        + ".",
        "",
        f"Learning {NUM_NEW} classes of {PER_CLASS} clips after {NUM_OLD} others from cached "
        f"features, {DIM} of each modality, in batches of {BATCH}, {NUM_EPOCHS} epochs; linear "
        "heads, SGD with momentum. Microseconds of processor time with one thread, median of "
        f"{ROUNDS} rounds in turns. The ratio is their time divided by ours, above 1 where `cign` "
        "is faster, with its range over the rounds.",
        "",
        "- The other implementation takes the steps of its own training loop on batches that are "
        "made in advance. Our time includes reading and shuffling clips, seeding every step, the "
        "record of the losses, and the outputs of the old model.",
        "- **one head**: of audio and visual features together, where `cign` trains three: audio, "
        "visual and audio-visual. **three heads**: three of their learners, the same work.",
        "- The sums of `analytic` are two products for each modality, with fixed settings; the "
        "solutions are in float64. The estimate at arrival, which RanPAC does not have, is not "
        "counted.",
        "",
        "| work | other implementation | `cign`, µs | theirs, µs | ratio |",
        "| --- | --- | ---: | ---: | ---: |",
        *rows,
        "",
        f"Machine: {', '.join(f'{k} {v}' for k, v in machine().items())}; load "
        f"{os.getloadavg()[0]:.1f} at the end.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pycil", type=Path, help="a clone of LAMDA-CL/PyCIL")
    parser.add_argument("--mammoth", type=Path, help="a clone of aimagelab/mammoth")
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    mammoth = None if arguments.mammoth is None else Mammoth(arguments.mammoth)
    pycil = None if arguments.pycil is None else PyCIL(arguments.pycil)
    rows = []
    with threadpool_limits(1):
        for one in compare(pycil, mammoth):
            rows.append(one.row())
            print(rows[-1], flush=True)
    commits = [
        f"{name} at {peer.commit}"
        for name, peer in (("PyCIL", pycil), ("Mammoth", mammoth))
        if peer is not None
    ]
    write_text(arguments.out, page(rows, commits))


if __name__ == "__main__":
    main()
