"""What is compared with a run that nothing disturbed: stores, runs, benches and models."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load

from cign.saved_model.files import ABOUT, KEPT, WEIGHTS, current_number, folder_in_use

PREDICTIONS = "predictions.parquet"
TIMES = ("forgotten_at",)
"""Ends of the names of tensors with times."""


def names(folder: Path) -> list[str]:
    """All that lies in a folder but locks, also what an interrupted write has left."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.name != ".lock")


def digest(path: Path) -> str:
    """Hash of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def store_result(place: Path) -> dict[str, Any]:
    """Every byte of a store."""
    return {name: digest(place / name) for name in names(place) if (place / name).is_file()}


def stored_values(place: Path) -> dict[str, Any]:
    """The same, but of arrays only the values: a damaged file may have bytes after them."""
    found = store_result(place)
    for path in place.rglob("*.npy"):
        values = np.load(path, mmap_mode="r", allow_pickle=False)
        found[str(path.relative_to(place))] = hashlib.sha256(values.tobytes()).hexdigest()
    return found


def run_result(place: Path) -> dict[str, Any]:
    """Model, predictions and embeddings of a run byte for byte, and its numbers."""
    metrics = json.loads((place / "metrics.json").read_text())
    files = ("model/model.safetensors", PREDICTIONS, "embeddings.parquet")
    kept = ("modalities", "losses", "tasks", "status")
    return {
        "names": names(place),
        **{name: digest(place / name) for name in files},
        **{name: metrics[name] for name in kept},
    }


def learned_values(place: Path) -> dict[str, Any]:
    """Model and predictions of a run byte for byte."""
    return {name: digest(place / name) for name in ("model/model.safetensors", PREDICTIONS)}


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
    """What a model predicts from and records, without times; ``intact``: files fit the checksums.

    An empty dictionary if there is no model.
    """
    folder = folder_in_use(place)
    if not (folder / ABOUT).is_file():
        return {}
    about = json.loads((folder / ABOUT).read_text())
    checksums = about.pop("checksums")
    about["changes"] = [change["text"] for change in about["changes"]]
    tensors = {
        name: hashlib.sha256(values.tobytes()).hexdigest()
        for name, values in load((folder / WEIGHTS).read_bytes()).items()
        if not name.endswith(TIMES)
    }
    files = [name for name in (WEIGHTS, KEPT) if (folder / name).is_file()]
    # The first version has no number until a second one is written.
    return {
        "number": current_number(place) or 1,
        "intact": checksums == {name: digest(folder / name) for name in files},
        "kept clips": checksums.get(KEPT),
        "tensors": tensors,
        **about,
    }
