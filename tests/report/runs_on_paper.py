"""Run folders as a run would write them, with scores drawn instead of learned."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from cign.metrics.embedded import FILE, Embeddings
from cign.metrics.incremental import DEFINITIONS, summarise
from cign.metrics.predictions import Predictions
from cign.utils.files import write_json
from cign.vocabulary import MODALITIES


def draw_predictions(
    task_sizes: tuple[int, ...] = (3, 3, 3, 3),
    *,
    num_done: int | None = None,
    clips_per_class: int = 20,
    skill: float = 2.0,
    decay: float = 0.3,
    duets: bool = False,
    class_names: tuple[str, ...] | None = None,
    seed: int = 0,
) -> Predictions:
    """Scores that favour the true class by ``skill``, less by ``decay`` for each later task."""
    generator = np.random.Generator(np.random.PCG64(seed))
    num_classes = sum(task_sizes)
    names = class_names or tuple(f"class {i:02d}" for i in range(num_classes))
    labels = [(name,) for name in names for _ in range(clips_per_class)]
    if duets:
        labels = [(a, names[(i * 7 + 1) % num_classes]) for i, (a,) in enumerate(labels)]
    labels += [("never taught",)] * clips_per_class
    predictions = Predictions(
        clip_ids=[f"test/{i:04d}.mp4" for i in range(len(labels))],
        labels=labels,
        class_names=names,
        task_sizes=task_sizes,
    )
    task_of = dict(zip(names, np.repeat(np.arange(len(task_sizes)), task_sizes), strict=True))
    for k in range(len(task_sizes) if num_done is None else num_done):
        seen = sum(task_sizes[: k + 1])
        strength = np.zeros((len(labels), seen))
        for row, clip_labels in enumerate(labels):
            for label in clip_labels:
                if label in task_of and task_of[label] <= k:
                    strength[row, names.index(label)] = skill - decay * (k - task_of[label])
        gains = {"audio": 1.0, "visual": 0.8, "audio_visual": 1.5}
        predictions.add_task(
            {
                modality: gains[modality] * strength + generator.gumbel(size=strength.shape) / 2
                for modality in MODALITIES
            }
        )
    return predictions


def draw_embeddings(predictions: Predictions, *, spread: float = 0.4, seed: int = 0) -> Embeddings:
    """Vectors around a centre for each class, audio and images side by side."""
    generator = np.random.Generator(np.random.PCG64(seed))
    names = sorted({name for labels in predictions.labels for name in labels})
    centres = dict(zip(names, generator.normal(size=(len(names), 6)), strict=True))
    means = np.stack([centres[labels[0]] for labels in predictions.labels])
    return Embeddings(
        clip_ids=predictions.clip_ids,
        labels=predictions.labels,
        class_names=predictions.class_names,
        task_sizes=predictions.task_sizes,
        vectors=means + spread * generator.normal(size=means.shape),
        split=3,
        num_test=predictions.num_clips,
    )


def write_run(
    folder: Path,
    method: str = "cign",
    *,
    embeddings: Embeddings | None = None,
    status: str = "finished",
    list_hash: str = "5f3a9c0e" * 8,
    limit: float | None = 98.0,
    memory: Any = 0,
    predictions: Predictions | None = None,
    **about: Any,
) -> Predictions:
    """Write ``metrics.json`` and ``predictions.parquet`` in the agreed form."""
    predictions = draw_predictions() if predictions is None else predictions
    names, ends = predictions.class_names, np.cumsum((0, *predictions.task_sizes)).tolist()
    folder.mkdir(parents=True)
    if predictions.num_tasks_done:
        predictions.save(folder / "predictions.parquet")
    if embeddings is not None:
        embeddings.save(folder / FILE)
    metrics = {
        "format": 1,
        "status": status,
        "method": method,
        "memory": str(memory),
        "config": {
            "method": method,
            "options": {"optimizer": {"learning_rate": 1e-4, "batch_size": 32}, "width": 192},
            "tasks": [list(names[a:b]) for a, b in pairwise(ends)],
            "memory": str(memory),
            "regime": "frozen",
        },
        "classes": list(names),
        "tasks": [list(names[a:b]) for a, b in pairwise(ends)],
        "modalities": summarise(predictions),
        "definitions": DEFINITIONS,
        "costs": {
            "seconds": 125.25,
            "peak_memory_mb": 812,
            "bytes_kept": 7_340_032 if memory else 0,
            "trainable_parameters": 1_234_567,
        },
        "seeds": {"order": 0, "run": 0},
        "store": {"path": "store", "list_hash": list_hash, "num_train": 720},
        "num_train_per_class": {name: 10 + 15 * i for i, name in enumerate(names)},
        "limit": limit,
        "versions": {"cign": "0.1.0.dev0", "python": "3.11.2", "torch": "2.13.0+cpu"},
        "machine": {"processor": "x86_64", "cores": 2, "accelerator": None},
    }
    write_json(folder / "metrics.json", metrics | about)
    return predictions


def as_probabilities(predictions):
    """The same with probabilities for scores, as methods give them."""
    for scores in predictions.scores:
        for modality, values in scores.items():
            e = 2.0 ** (values - values.max(axis=1, keepdims=True))
            scores[modality] = e / e.sum(axis=1, keepdims=True)
    return predictions
