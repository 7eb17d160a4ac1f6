"""Archive the finished runs of a bench in one compressed file, and restore them from it.

    python benchmarks/kept_runs.py keep work/table benchmarks/results/runs/main_table.tar.xz
    python benchmarks/kept_runs.py restore benchmarks/results/runs/main_table.tar.xz work/table

The archive holds the configuration of the bench, so that resuming with another one is refused. For
each run it holds configuration, metrics and losses, the commit of its code, and, instead of all
scores, the class that each modality ranked first for every test clip after every task. Accuracy,
forgetting and their intervals follow from these exactly. Open-set and calibration metrics need the
scores: restored predictions have 1 for the first class and 0 for all others, and `metrics.json`
says so.
"""

from __future__ import annotations

import argparse
import contextlib
import lzma
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from cign.bench.worker import FORMAT, RECORD, is_done, save_resampled
from cign.metrics.predictions import Predictions
from cign.report.runs import RANKED_FIRST
from cign.runs.configuration import RunConfig
from cign.utils.files import read_json, replacing, write_json, write_text
from cign.vocabulary import MODALITIES

# Files of a run that are archived unchanged.
CONFIG = "config.yaml"
TEXTS = (CONFIG, "metrics.json")
BENCH = "bench.json"
# Folder of the test clips of each store, which all its runs share.
CLIPS = "clips"


def keep(bench: Path, kept: Path) -> int:
    """Archive the finished runs of a bench that are not archived yet.

    Args:
        bench: Folder of the bench.
        kept: Folder of the archive: one file per run, and one per store for its test clips.

    Returns:
        Number of runs added.
    """
    _copy_configuration(bench, kept)
    added = 0
    for folder in sorted((bench / "runs").iterdir()):
        file = kept / f"{folder.name}.npz"
        if file.exists() or not is_done(folder):
            continue
        predictions = Predictions.load(folder / "predictions.parquet")
        metrics = read_json(folder / "metrics.json", "metrics")
        if any(len(labels) != 1 for labels in predictions.labels):
            raise SystemExit(f"{folder}: runs on multi-label clips cannot be archived")
        clips = metrics["store"].get("test_list_hash", metrics["store"]["list_hash"])[:16]
        _keep_clips(kept / CLIPS / f"{clips}.npz", predictions)
        _save(
            file,
            answers=np.stack([_ranked_first(scores) for scores in predictions.scores]),
            clips=np.array(clips),
            **{name: np.array((folder / name).read_text(encoding="utf-8")) for name in TEXTS},
        )
        added += 1
    return added


def restore(kept: Path, bench: Path) -> int:
    """Restore archived runs to a bench's folder; existing runs are not changed.

    Returns:
        Number of restored runs.
    """
    restored = 0
    if (kept / BENCH).exists() and not (bench / BENCH).exists():
        _copy_configuration(kept, bench)
    for file in sorted(kept.glob("*.npz")):
        folder = bench / "runs" / file.stem
        if is_done(folder):
            continue
        with np.load(file, allow_pickle=False) as run:
            texts = {name: str(run[name]) for name in TEXTS}
            answers, clips = run["answers"], str(run["clips"])
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            write_text(folder / name, text)
        _convert_configuration(folder)
        metrics = read_json(folder / "metrics.json", "metrics")
        write_json(folder / "metrics.json", metrics | {"scores": RANKED_FIRST})
        tasks = metrics["tasks"]
        with np.load(kept / CLIPS / f"{clips}.npz", allow_pickle=False) as known:
            ids, labels = known["ids"].tolist(), known["labels"].tolist()
        _predictions(answers, ids, labels, tasks).save(folder / "predictions.parquet")
        save_resampled(folder)
        write_json(folder / RECORD, {"format": FORMAT, "status": "finished"})
        restored += 1
    return restored


def _convert_configuration(folder: Path) -> None:
    """Rewrite the configuration of a run that was archived in format 1, without groups."""
    values = yaml.safe_load((folder / CONFIG).read_text(encoding="utf-8"))
    if "format" not in values:
        values["tasks"] = tuple(map(tuple, values["tasks"]))
        RunConfig.of(**values).save(folder)


def _copy_configuration(source: Path, target: Path) -> None:
    """Copy the configuration without token fingerprints, which differ between machines."""
    found = read_json(source / BENCH, "bench")
    config = found["config"]
    for name in ("stores", "test-store"):
        config[name] = {key: {**value, "tokens": {}} for key, value in config[name].items()}
    write_json(target / BENCH, found)


def _ranked_first(scores: dict[str, Any]) -> Any:
    """Index of the top-ranked class of each modality, shape [3, N]."""
    return np.stack([scores[modality].argmax(axis=1) for modality in MODALITIES]).astype(np.uint16)


def _keep_clips(path: Path, predictions: Predictions) -> None:
    """Write a store's test clips once; all its runs have the same clips in the same order."""
    clips = {
        "ids": np.array(predictions.clip_ids),
        "labels": np.array([labels[0] for labels in predictions.labels]),
    }
    if not path.exists():
        _save(path, **clips)
        return
    with np.load(path, allow_pickle=False) as known:
        if any(not np.array_equal(known[name], clips[name]) for name in clips):
            raise SystemExit(f"{path}: these runs were not tested on the same clips")


def _predictions(
    answers: Any, ids: list[str], labels: list[str], tasks: list[list[str]]
) -> Predictions:
    """Predictions with score 1 for the top-ranked class and 0 for all others."""
    result = Predictions(
        clip_ids=ids,
        labels=[(label,) for label in labels],
        class_names=tuple(name for task in tasks for name in task),
        task_sizes=tuple(map(len, tasks)),
    )
    for task, first in enumerate(answers):
        ranked = np.eye(result.num_seen(task), dtype=np.float32)
        result.add_task({modality: ranked[first[i]] for i, modality in enumerate(MODALITIES)})
    return result


def _save(path: Path, **arrays: Any) -> None:
    """Write a file of arrays, atomically; the archive compresses it with those of other runs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


@contextlib.contextmanager
def unpacked(archive: Path) -> Iterator[Path]:
    """The files of an archive in a temporary folder, which is empty if there is no archive yet."""
    with tempfile.TemporaryDirectory() as folder:
        if archive.exists():
            with tarfile.open(archive, "r:xz") as tar:
                tar.extractall(folder, filter="data")
        yield Path(folder)


def pack(folder: Path, archive: Path) -> None:
    """Write all files of a folder into an archive, atomically; equal files give equal bytes."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with (
        replacing(archive) as temporary,
        lzma.open(temporary, "wb", preset=9 | lzma.PRESET_EXTREME) as stream,
        tarfile.open(fileobj=stream, mode="w") as tar,
    ):
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            entry = tarfile.TarInfo(str(path.relative_to(folder)))
            entry.size = path.stat().st_size
            with path.open("rb") as file:
                tar.addfile(entry, file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=("keep", "restore"))
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    arguments = parser.parse_args()
    if arguments.what == "keep":
        with unpacked(arguments.target) as folder:
            added = keep(arguments.source, folder)
            total = len(list(folder.glob("*.npz")))
            pack(folder, arguments.target)
        print(f"{added} runs added, {total} in {arguments.target}")
        return
    with unpacked(arguments.source) as folder:
        restored = restore(folder, arguments.target)
    print(f"{restored} runs restored")


if __name__ == "__main__":
    main()
