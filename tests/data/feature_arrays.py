"""Small separable features for tests, and their forms on disk."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np

CLASSES = ("ape", "bee", "cat", "dog")
NUM_CLIPS = 48


def arrays(num_clips: int = NUM_CLIPS, seed: int = 0, classes=CLASSES) -> dict[str, Any]:
    """Features of clips whose classes take turns, with splits 8 / 2 / 2 of each class."""
    rng = np.random.default_rng(seed)
    labels = np.arange(num_clips) % len(classes)
    rounds = np.arange(num_clips) // len(classes)
    audio = rng.normal(size=(num_clips, 16)) + 4 * np.eye(len(classes), 16)[labels]
    visual = rng.normal(size=(num_clips, 3, 24)) + 4 * np.eye(len(classes), 24)[labels][:, None]
    split = np.where(rounds < 8, "train", np.where(rounds < 10, "val", "test"))
    return {
        "audio": audio.astype(np.float32),
        "visual": visual.astype(np.float32),
        "labels": np.array(classes)[labels],
        "split": split,
        "id": np.array([f"clip {seed}/{number}" for number in range(num_clips)]),
    }


def as_npz(folder: Path, values: dict[str, Any]) -> Path:
    np.savez(folder / "features.npz", **values)
    return folder / "features.npz"


def as_folder(folder: Path, values: dict[str, Any]) -> Path:
    place = folder / "features"
    place.mkdir()
    for kind in ("audio", "visual"):
        np.save(place / f"{kind}.npy", values[kind])
    _write_csv(place / "clips.csv", columns(values))
    return place


def as_parquet_folder(folder: Path, values: dict[str, Any]) -> Path:
    place = as_folder(folder, values)
    (place / "clips.csv").unlink()
    _write_parquet(place / "clips.parquet", columns(values))
    return place


def as_lists(folder: Path, values: dict[str, Any]) -> Path:
    """A Parquet table with lists and lists of lists."""
    lists = {kind: values[kind].tolist() for kind in ("audio", "visual")}
    return _write_parquet(folder / "features.parquet", lists | columns(values))


def as_fixed_lists(folder: Path, values: dict[str, Any]) -> Path:
    """A Parquet table with lists of fixed size in single precision, in small row groups."""
    import pyarrow as pa

    kinds = {
        "audio": pa.list_(pa.float32(), 16),
        "visual": pa.list_(pa.list_(pa.float32(), 24), 3),
    }
    lists = {kind: pa.array(values[kind].tolist(), kinds[kind]) for kind in kinds}
    return _write_parquet(folder / "features.parquet", lists | columns(values), row_group_size=7)


def as_files(folder: Path, values: dict[str, Any]) -> Path:
    """A CSV table that names one file per clip and modality."""
    names: dict[str, list[str]] = {"audio": [], "visual": []}
    for kind, listed in names.items():
        (folder / kind).mkdir()
        for number, row in enumerate(values[kind]):
            np.save(folder / kind / f"{number}.npy", row)
            listed.append(f"{kind}/{number}.npy")
    return _write_csv(folder / "table.csv", names | columns(values))


def columns(values: dict[str, Any]) -> dict[str, list[Any]]:
    return {name: list(v) for name, v in values.items() if name not in ("audio", "visual")}


def _write_csv(path: Path, values: dict[str, list[Any]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(values)
        writer.writerows(zip(*values.values(), strict=True))
    return path


def _write_parquet(path: Path, values: dict[str, Any], **how: Any) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table(values), path, **how)
    return path
