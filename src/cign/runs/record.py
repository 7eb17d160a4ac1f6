"""The record of a run: metrics, costs, seeds, versions and machine."""

from __future__ import annotations

import dataclasses
import platform
import resource
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from cign.data.store import Store
from cign.metrics import open_set
from cign.metrics.incremental import DEFINITIONS, summarise
from cign.runs.configuration import RunConfig
from cign.training.loop import Loop
from cign.utils.files import read_json, write_json

FORMAT = 2
MODEL_SELECTION = "last epoch; no clip is held out to choose another"


def write_metrics(
    folder: Path,
    config: RunConfig,
    loop: Loop,
    store: Store,
    test_store: Store | None = None,
) -> None:
    """Write ``metrics.json`` for the current state of the run."""
    write_json(folder / "metrics.json", describe(config, loop, store, test_store))


def with_original_costs(folder: Path, metrics: dict[str, Any]) -> dict[str, Any]:
    """Metrics with the original costs, versions and machine of the run.

    Resuming a finished run only adds entries that a later version writes. What is measured then is
    not the cost of the run.

    Args:
        folder: The run folder.
        metrics: Metrics from `describe`.
    """
    if not (folder / "model" / "model.json").exists():
        return metrics
    before = read_json(folder / "metrics.json", "metrics")
    costs = before["costs"] | {"validation_bytes": metrics["costs"]["validation_bytes"]}
    kept = {key: before[key] for key in ("versions", "machine") if key in before}
    return metrics | kept | {"costs": costs}


def describe(
    config: RunConfig,
    loop: Loop,
    store: Store,
    test_store: Store | None = None,
    *,
    validation_bytes: int = 0,
) -> dict[str, Any]:
    """The contents of ``metrics.json`` as plain values: metrics, costs, seeds, versions.

    Args:
        config: Configuration of the run.
        loop: The training loop of the run.
        store: Store of the training clips.
        test_store: Store of the test clips, if it is another one.
        validation_bytes: Size of the validation clips in the model, which measure changes; not part
            of ``bytes_kept``, which is the memory that the method itself needs.
    """
    tasks = loop.clips.tasks
    finished = loop.place.task >= tasks.num_tasks
    values = dataclasses.asdict(config)
    values["tasks"] = [list(group) for group in config.tasks]
    parameters = [p for p in loop.method.parameters() if p.requires_grad]
    return {
        "format": FORMAT,
        "status": "finished" if finished else "running",
        "method": config.method,
        "memory": config.effective_memory,
        "config": values,
        "classes": list(tasks.class_order),
        "tasks": [list(group) for group in tasks.groups],
        "modalities": summarise(loop.predictions) if loop.predictions.scores else {},
        "open_set": {
            "modalities": open_set.summarise(loop.predictions),
            "after_each_task": open_set.summarise_open_set(loop.predictions),
        },
        "definitions": dict(DEFINITIONS) | open_set.RUN_DEFINITIONS,
        "costs": {
            "seconds": round(loop.seconds, 2),
            "peak_memory_mb": round(peak_memory_mb(), 1),
            "bytes_kept": _bytes_kept(loop),
            "validation_bytes": validation_bytes,
            "trainable_parameters": sum(p.numel() for p in parameters),
        },
        "model_selection": MODEL_SELECTION,
        "losses": loop.losses,
        "seeds": {"order": config.order, "run": config.seed},
        "store": {
            "path": str(store.folder),
            "list_hash": store.list_hash,
            "num_train": len(loop.train),
            "num_test": len(loop.test),
            **_tested(test_store),
        },
        "num_train_per_class": {
            name: int(count)
            for name, count in zip(
                tasks.class_order, loop.clips.targets[loop.train].sum(axis=0), strict=True
            )
        },
        "limit": limit_percent(store if test_store is None else test_store),
        "versions": versions(),
        "machine": machine(),
    }


def _bytes_kept(loop: Loop) -> int:
    """Bytes of old clips that the method may replay, and of its statistics."""
    kept = loop.train if loop.method.replays_everything else loop.memory.indices
    return len(kept) * loop.source.bytes_per_clip + loop.method.state_bytes


def _tested(test_store: Store | None) -> dict[str, str]:
    """Path and list hash of the test store, if it is another one."""
    if test_store is None:
        return {}
    return {"test_path": str(test_store.folder), "test_list_hash": test_store.list_hash}


def limit_percent(store: Store) -> float | None:
    """The best possible accuracy in percent, for synthetic data whose limit is known."""
    limit = (store.info.get("synth") or {}).get("limit")
    return None if limit is None else round(100.0 * float(limit), 3)


def peak_memory_mb() -> float:
    """Peak memory of this process, in MB of 1,000,000 bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if platform.system() == "Darwin" else 1024) / 1e6


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that compute."""
    names = ("cign", "torch", "numpy", "transformers", "av")
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in names}}


def machine() -> dict[str, Any]:
    """Description of this machine."""
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _processor() -> str:
    """The processor's name, if the system reports it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or "unknown")
