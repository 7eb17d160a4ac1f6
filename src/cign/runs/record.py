"""The record of a run: metrics, costs, seeds, versions and machine."""

from __future__ import annotations

import platform
import resource
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from cign.metrics import few_shot, online, open_set
from cign.metrics.incremental import DEFINITIONS, summarise
from cign.runs.configuration import RunConfig
from cign.runs.metrics_file import read_metrics
from cign.runs.training_data import Origin, TrainingData
from cign.training.loop import Loop
from cign.utils.code_version import CodeVersion, code_version
from cign.utils.files import write_json

FORMAT = 2
_STATUS = Path("/proc/self/status")  # of Linux
MODEL_SELECTION = "last epoch; no clip is held out to choose another"


def write_metrics(
    folder: Path,
    config: RunConfig,
    loop: Loop,
    data: TrainingData,
    *,
    code: Sequence[CodeVersion],
) -> None:
    """Write ``metrics.json`` for the current state of the run."""
    write_json(folder / "metrics.json", describe(config, loop, data, code=code))


def codes_of(metrics: dict[str, Any]) -> list[CodeVersion]:
    """Versions of the code that a run was made with; empty if they were not recorded.

    Args:
        metrics: The contents of its ``metrics.json``.
    """
    return list(metrics.get("code", ()))


def codes_with_current(before: Path | None) -> list[CodeVersion]:
    """Versions of the code that a run is made with, the current one last.

    Args:
        before: Folder of the run whose state is continued, if any.
    """
    codes: list[CodeVersion] = []
    if before is not None and (before / "metrics.json").exists():
        metrics = read_metrics(before)
        version = metrics.get("versions", {}).get("cign", "unknown")
        unknown = {"version": version, "commit": None, "dirty": None}
        codes = codes_of(metrics) or [unknown]
    current = code_version()
    return codes if codes[-1:] == [current] else [*codes, current]


def with_original_costs(folder: Path, metrics: dict[str, Any]) -> dict[str, Any]:
    """Metrics with the original costs, versions, code and machine of the run.

    Resuming a finished run only adds entries that a later version writes. What is measured then is
    not the cost of the run.

    Args:
        folder: The run folder.
        metrics: Metrics from `describe`.
    """
    if not (folder / "model" / "model.json").exists():
        return metrics
    before = read_metrics(folder)
    costs = before.get("costs", {}) | {"validation_bytes": metrics["costs"]["validation_bytes"]}
    kept: dict[str, Any] = {key: before[key] for key in ("versions", "machine") if key in before}
    kept["code"] = codes_of(before)
    return metrics | kept | {"costs": costs}


def describe(
    config: RunConfig,
    loop: Loop,
    data: TrainingData,
    *,
    code: Sequence[CodeVersion],
    validation_bytes: int = 0,
) -> dict[str, Any]:
    """The contents of ``metrics.json`` as plain values: metrics, costs, seeds, versions.

    Args:
        config: Configuration of the run.
        loop: The training loop of the run.
        data: The data of the run.
        code: Versions of the code that the run was made with.
        validation_bytes: Size of the validation clips in the model, which measure changes; not part
            of ``bytes_kept``, which is the memory that the method itself needs.
    """
    tasks = loop.clips.tasks
    finished = loop.place.task >= tasks.num_tasks
    parameters = [p for p in loop.method.parameters() if p.requires_grad]
    return {
        "format": FORMAT,
        "status": "finished" if finished else "running",
        "method": config.method,
        "memory": config.effective_memory,
        "config": config.flat(),
        "classes": list(tasks.class_order),
        "tasks": [list(group) for group in tasks.groups],
        "modalities": summarise(loop.predictions) if loop.predictions.scores else {},
        "open_set": {
            "modalities": open_set.summarise(loop.predictions),
            "after_each_task": open_set.summarise_open_set(loop.predictions),
        },
        **_of_stream(config, loop),
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
        "leave_one_out": [one.to_dict() for one in loop.estimates],
        "seeds": {"order": config.order, "run": config.training.seed},
        "store": {
            "path": data.origin.path,
            "list_hash": data.origin.list_hash,
            "num_train": len(loop.train),
            "num_test": len(loop.test),
            **_tested(data.test_origin),
        },
        "num_train_per_class": {
            name: int(count)
            for name, count in zip(
                tasks.class_order, loop.clips.targets[loop.train].sum(axis=0), strict=True
            )
        },
        "limit": data.limit,
        "code": list(code),
        "versions": versions(),
        "machine": machine(),
    }


def _of_stream(config: RunConfig, loop: Loop) -> dict[str, Any]:
    """Metrics that only runs with the stream of this run have, with their definitions."""
    if loop.online is not None:
        points = loop.online.points
        return {
            "online": {
                "modalities": online.summarise(points),
                "points": [one.to_dict() for one in points],
                "definitions": online.DEFINITIONS,
            }
        }
    if config.arrival.stream != "fewshot":
        return {}
    numbers = few_shot.summarise(loop.predictions)
    return {"few_shot": {"modalities": numbers, "definitions": few_shot.DEFINITIONS}}


def _bytes_kept(loop: Loop) -> int:
    """Bytes of old clips that the method may replay, and of its statistics."""
    kept = loop.train if loop.method.replays_everything else loop.memory.indices
    return len(kept) * loop.source.bytes_per_clip + loop.method.state_bytes


def _tested(origin: Origin | None) -> dict[str, str]:
    """Path and list hash of the test store, if it is another one."""
    if origin is None:
        return {}
    return {"test_path": origin.path, "test_list_hash": origin.list_hash}


def peak_memory_mb() -> float:
    """Peak resident memory of this process, in MB of 1,000,000 bytes.

    Linux passes ``ru_maxrss`` on to the program that a process starts, so that a run started by a
    large process would report that process's peak. ``VmHWM`` starts anew with the program.
    """
    if _STATUS.exists():
        fields = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
        if "VmHWM" in fields:  # in kB of 1,024 bytes
            return int(fields["VmHWM"].split()[0]) * 1024 / 1e6
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
