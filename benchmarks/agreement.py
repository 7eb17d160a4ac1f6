"""Our side of a step-by-step comparison with another implementation of a method.

Runs each method on a small problem in memory, four tasks of two classes, and writes everything that
another implementation needs to take the same steps, together with our results:

    python benchmarks/agreement.py OUT [--methods ewc lwf ...]

`OUT/problem.npz`: `audio` [N, 4, 16], `visual` [N, 4, 16], `labels` [N], `train`, `test` (indices).
`OUT/METHOD.npz`, S steps:

- `losses` [S]: the minimised loss; `term/NAME` [S]: its terms, NaN where absent.
- `task`, `phase` [S]; `clips` (of all batches, concatenated) and `sizes` [S].
- `start/K/NAME`: parameters and buffers at the start of training on task K, K from 0, including new
  rows and proxies; `end/NAME`: after the last task.
- `memory/K`: exemplars after task K; `scores/K`: scores of the test clips; `accuracy` [K], percent,
  on the test clips of the classes learned so far.
- `options`: as JSON; `reading`: the modality whose head was trained.

Results: docs/verification.md.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from cign.backbones.blocks import FrozenBlocks, TokenBlocks
from cign.data.batches import ArraySource
from cign.data.exemplar_memory import ExemplarMemory, MemoryBudget
from cign.data.tasks import TaskClips, split_into_tasks
from cign.layers.transformer import Transformer
from cign.methods import method_class
from cign.methods.base import Batch, Losses, Method, Setup, TaskData
from cign.methods.phases import Phase
from cign.metrics.predictions import Predictions
from cign.networks.encoder import TokenShape
from cign.training.loop import Loop
from cign.utils.options import configure

NUM_CLASSES, NUM_TASKS, NUM_TRAIN, NUM_TEST = 8, 4, 30, 25
NUM_TOKENS, WIDTH, NUM_HEADS = 4, 16, 2
SHAPE = TokenShape(
    audio_dim=WIDTH,
    visual_dim=WIDTH,
    num_audio_tokens=NUM_TOKENS,
    num_visual_tokens=NUM_TOKENS,
    audio_grid=(2, 2),
    visual_grid=(2, 2),
)
# 13 epochs of at least 4 steps: every task has at least 50 steps.
TRAINING = {"num_epochs": 13, "batch_size": 16, "learning_rate": 0.02, "optimizer": "sgd"}
TRUNK = {"trunk": "transformer", "width": WIDTH, "depth": 2, "num_heads": 2, "drop_path": 0.0}
# With SGD and momentum the learned scale of podnet is unstable.
PODNET = {**TRAINING, "learning_rate": 2e-3, "optimizer": "adam"}
BALANCED = {**PODNET, "num_epochs": 5, "learning_rate": 1e-3}
PROMPTS = {"pool_size": 6, "num_chosen": 2, "prompt_length": 3}
PROMPT_TRAINING = {**TRAINING, "learning_rate": 0.3}
BIAS = {"num_epochs": 30, "batch_size": 16, "learning_rate": 0.02, "optimizer": "sgd"}
MEMORY = "6/class"
# Here each modality has its own head, and their losses are added; other implementations have one
# head. Therefore one modality is trained and compared; None trains all three.
CASES: dict[str, dict[str, Any]] = {
    "finetune": {"modality": "audio_visual", "options": TRUNK},
    "ewc": {"modality": None, "options": {**TRUNK, "fisher_labels": "true", "strength": 300.0}},
    "ewc_online": {
        "modality": None,
        "options": {**TRUNK, "fisher_labels": "true", "strength": 300.0, "decay": 0.9},
    },
    "lwf": {"modality": "audio_visual", "options": TRUNK},
    "icarl": {"modality": "audio_visual", "options": TRUNK, "memory": MEMORY},
    "il2m": {"modality": "audio_visual", "options": TRUNK, "memory": MEMORY},
    "il2m_logits": {
        "method": "il2m",
        "modality": "audio_visual",
        "options": {**TRUNK, "scores": "logits"},
        "memory": MEMORY,
    },
    "bic": {
        "modality": "audio_visual",
        "options": {**TRUNK, "bias_training": BIAS},
        "memory": MEMORY,
    },
    "podnet": {
        "modality": "audio",
        "options": {
            **TRUNK,
            "training": PODNET,
            "num_proxies": 3,
            "initial_scale": 5.0,
            "balanced_training": BALANCED,
        },
        "memory": MEMORY,
    },
    "ssil": {"modality": "audio_visual", "options": TRUNK, "memory": MEMORY},
    "av_cil": {
        "modality": "audio_visual",
        "options": {
            "training": {**TRAINING, "learning_rate": 1e-2, "optimizer": "adam"},
            "instance_weight": 0.5,
        },
        "memory": MEMORY,
        "visual_grid": (1, 2),  # two frames
    },
    "er": {"modality": "audio_visual", "options": TRUNK, "memory": MEMORY},
    "derpp": {"modality": "audio_visual", "options": TRUNK, "memory": MEMORY},
    "er_ace": {"modality": "audio_visual", "options": TRUNK, "memory": MEMORY},
    "wa": {"modality": "audio_visual", "options": TRUNK, "memory": MEMORY},
    "l2p": {
        "modality": "audio",
        "options": {"training": PROMPT_TRAINING, **PROMPTS, "pooled": "prompts"},
    },
    "dualprompt": {
        "modality": "audio",
        "options": {"training": PROMPT_TRAINING, "general_length": 3, "expert_length": 3},
    },
}


def problem() -> dict[str, np.ndarray]:
    """Clips with tokens around a class centre, noisy enough that some are misclassified."""
    rng = np.random.default_rng(20260)
    labels = np.repeat(np.arange(NUM_CLASSES), NUM_TRAIN + NUM_TEST)
    tokens = {}
    for name in ("audio", "visual"):
        centres = rng.normal(size=(NUM_CLASSES, NUM_TOKENS, WIDTH))
        noise = 1.5 * rng.normal(size=(len(labels), NUM_TOKENS, WIDTH))
        tokens[name] = (centres[labels] + noise).astype(np.float16)
    is_train = np.arange(len(labels)) % (NUM_TRAIN + NUM_TEST) < NUM_TRAIN
    return {
        **tokens,
        "labels": labels,
        "train": np.flatnonzero(is_train),
        "test": np.flatnonzero(~is_train),
    }


def blocks() -> FrozenBlocks:
    """Frozen random transformers for prompt methods."""
    torch.manual_seed(1)
    parts = [
        TokenBlocks(
            Transformer(WIDTH, 2, NUM_HEADS).blocks,
            nn.LayerNorm(WIDTH),
            width=WIDTH,
            num_tokens=NUM_TOKENS,
        )
        for _ in range(2)
    ]
    return FrozenBlocks(*parts)


class Recorder:
    """Records inputs and results of a method, and restricts training to one modality's losses.

    Args:
        method: The method; its `learn`, `before_task` and `after_memory` are wrapped.
        modality: Modality whose losses are minimised; None minimises all.
    """

    def __init__(self, method: Method, modality: str | None) -> None:
        self.method, self.modality = method, modality
        self.arrays: dict[str, np.ndarray] = {}
        self.steps: list[dict[str, Any]] = []
        self.task = -1
        self._learn, self._before_task = method.learn, method.before_task
        self._after_memory = method.after_memory
        # Instance attributes take precedence over methods of the class.
        method.learn = self.learn  # type: ignore[method-assign]
        method.before_task = self.before_task  # type: ignore[method-assign]
        method.after_memory = self.after_memory  # type: ignore[method-assign]

    def before_task(self, data: TaskData) -> None:
        """Record the weights at the start of training."""
        self._before_task(data)
        self.task = data.task
        self.note(f"start/{data.task}")

    def after_memory(self, data: TaskData) -> None:
        """Record the exemplars."""
        self._after_memory(data)
        self.arrays[f"memory/{data.task}"] = data.memory

    def note(self, prefix: str) -> None:
        """Record all weights."""
        for name, value in self.method.state_dict().items():
            self.arrays[f"{prefix}/{name}"] = value.detach().numpy().copy()

    def learn(self, batch: Batch, phase: Phase) -> Losses | None:
        """Learn, and record the batch and the losses."""
        losses = self._learn(batch, phase)
        assert losses is not None
        if self.modality is not None:
            losses = {name: value for name, value in losses.items() if self._counts(name)}
        self.steps.append(
            {
                "task": self.task,
                "phase": phase.name,
                "clips": batch.indices,
                "terms": {name: float(value.detach()) for name, value in losses.items()},
            }
        )
        return losses

    def _counts(self, name: str) -> bool:
        """Whether a loss belongs to the modality; not by prefix, for ``audio`` begins two names."""
        assert self.modality is not None
        parts = ("distillation", "spatial", "flat", "keys", "replay", "logits")
        of_both = ("instance", "class", "attention")
        return name in (self.modality, *(f"{self.modality}_{part}" for part in parts), *of_both)

    def finish(self) -> dict[str, np.ndarray]:
        """Everything recorded, as arrays."""
        names = sorted({name for step in self.steps for name in step["terms"]})
        terms = {
            f"term/{name}": np.array([step["terms"].get(name, np.nan) for step in self.steps])
            for name in names
        }
        self.note("end")
        return {
            **self.arrays,
            **terms,
            "losses": np.array([sum(step["terms"].values()) for step in self.steps]),
            "task": np.array([step["task"] for step in self.steps]),
            "phase": np.array([step["phase"] for step in self.steps]),
            "clips": np.concatenate([step["clips"] for step in self.steps]),
            "sizes": np.array([len(step["clips"]) for step in self.steps]),
        }


def run(name: str, data: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Run one case over all tasks and record it."""
    case = CASES[name]
    cls = method_class(case.get("method", name))
    options = configure(cls.Options, {"training": TRAINING, **case["options"]}, name)
    shape = replace(SHAPE, visual_grid=case.get("visual_grid", SHAPE.visual_grid))
    setup = Setup(shape=shape, blocks=blocks() if cls.needs_blocks else None)
    torch.manual_seed(2)
    recorder = Recorder(cls(setup, options), case["modality"])
    names = [f"class {c}" for c in range(NUM_CLASSES)]
    labels, test = data["labels"], data["test"]
    clips = TaskClips.of([(names[c],) for c in labels], split_into_tasks(names, NUM_TASKS))
    loop = Loop(
        method=recorder.method,
        clips=clips,
        source=ArraySource(lambda i: data["audio"][i], lambda i: data["visual"][i], 256),
        train=data["train"],
        test=test,
        memory=ExemplarMemory(MemoryBudget.parse(case.get("memory", "0"))),
        predictions=Predictions(
            clip_ids=[str(i) for i in test],
            labels=[(names[labels[i]],) for i in test],
            class_names=clips.tasks.class_order,
            task_sizes=clips.tasks.sizes,
        ),
    )
    loop.run()
    arrays = recorder.finish()
    accuracy = []
    for task, scores in enumerate(loop.predictions.scores):
        # If all three are trained, the accuracy is audio-visual.
        of_modality = scores[case["modality"] or "audio_visual"]
        seen = labels[test] < clips.tasks.num_seen(task)
        hits = of_modality[seen].argmax(axis=1) == labels[test][seen]
        arrays[f"scores/{task}"] = of_modality
        accuracy.append(100.0 * float(hits.mean()))
    arrays["accuracy"] = np.array(accuracy)
    arrays["options"] = np.array(json.dumps(asdict(options)))
    arrays["reading"] = np.array(case["modality"] or "all")
    return arrays


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--methods", nargs="+", choices=sorted(CASES), default=list(CASES))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    data = problem()
    np.savez_compressed(arguments.out / "problem.npz", **data)
    for name in arguments.methods:
        arrays = run(name, data)
        np.savez_compressed(arguments.out / f"{name}.npz", **arrays)
        steps, accuracy = len(arrays["losses"]), arrays["accuracy"][-1]
        print(f"{name:12s} {steps:5d} steps, last accuracy {accuracy:.1f} %")


if __name__ == "__main__":
    main()
