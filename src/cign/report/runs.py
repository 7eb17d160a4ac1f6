"""Reading run folders for the report; every number shown is derived anew from the predictions."""

from __future__ import annotations

import fcntl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cign.errors import InputError
from cign.metrics.catalogue import Stored
from cign.metrics.embedded import FILE as EMBEDDINGS
from cign.metrics.embedded import Embeddings
from cign.metrics.incremental import summarise
from cign.metrics.predictions import Predictions
from cign.utils.files import read_json

# What ``scores`` of ``metrics.json`` says where a run was kept without its scores.
RANKED_FIRST = "ranked first"
_NEEDED = ("status", "method", "classes", "tasks", "store")


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run as the report shows it.

    Attributes:
        name: What the report calls it: the method, with the folder where that is not enough.
        folder: Where it lies.
        metrics: Its ``metrics.json``.
        predictions: What it said about each test clip.
        summary: The named numbers, reading -> name -> percent, derived from the predictions.
        state: "finished", "running" (a process holds the folder) or "interrupted".
        embeddings: Of its final model; None where it stored none.
    """

    name: str
    folder: Path
    metrics: dict[str, Any]
    predictions: Predictions
    summary: dict[str, dict[str, Any]]
    state: str
    embeddings: Embeddings | None = None

    @property
    def method(self) -> str:
        """The method's name."""
        return str(self.metrics["method"])

    @property
    def has_scores(self) -> bool:
        """Whether its predictions are scores, not only the class that was ranked first."""
        return has_scores(self.metrics)

    @property
    def task_sizes(self) -> tuple[int, ...]:
        """Number of classes of each task."""
        return self.predictions.task_sizes

    @property
    def list_hash(self) -> str:
        """Hash of the list of clips the run was made on; of both, if it was scored on another."""
        store = self.metrics["store"]
        hashes = (store.get("list_hash", "unknown"), store.get("test_list_hash"))
        return " + ".join(str(value) for value in hashes if value)


def has_scores(metrics: Mapping[str, Any]) -> bool:
    """Whether a run with these metrics has scores as its predictions; see `Run.has_scores`."""
    return bool(metrics.get("scores") != RANKED_FIRST)


def load_runs(folders: Sequence[Path], names: Sequence[str] | None = None) -> list[Run]:
    """Read run folders, or folders that hold several of them.

    Args:
        folders: At least one.
        names: What to call the runs, one for each; by default their methods.

    Returns:
        The runs, in the order given; inside a folder of runs, by name.

    Raises:
        InputError: If a folder is no run, its predictions are missing or do not fit its metrics,
            or the runs were made on different lists of clips.
    """
    found = [run for folder in folders for run in _expand(folder)]
    found = list(dict.fromkeys(folder.resolve() for folder in found))
    if not found:
        raise InputError("no run was given: name at least one folder that `cign train` wrote")
    runs = [_load(folder) for folder in found]
    hashes = {run.list_hash: run.folder for run in runs}
    if len(hashes) > 1:
        named = "; ".join(f"{value} in {folder}" for value, folder in hashes.items())
        raise InputError(
            f"the runs were made on different lists of clips ({named}): "
            "report only runs of one store together"
        )
    wanted = [run.method for run in runs] if names is None else list(names)
    assert len(wanted) == len(runs), "one name for each run"
    return _with_names(runs, wanted)


def _expand(folder: Path) -> list[Path]:
    """A run, or the runs that lie directly inside."""
    if not folder.is_dir():
        raise InputError(f"run {folder} is not a folder: name one that `cign train` wrote")
    if (folder / "metrics.json").is_file():
        return [folder]
    inside = sorted(path.parent for path in folder.glob("*/metrics.json"))
    if not inside:
        raise InputError(
            f"{folder} holds no metrics.json: it is not a run, or its first task is not done yet"
        )
    return inside


def _load(folder: Path) -> Run:
    metrics = read_json(folder / "metrics.json", "metrics")
    missing = [key for key in _NEEDED if key not in metrics] if isinstance(metrics, dict) else None
    if missing is None or missing or not isinstance(metrics["store"], dict):
        lacks = f" (it lacks {', '.join(missing)})" if missing else ""
        raise InputError(
            f"{folder / 'metrics.json'} is not the metrics of a run{lacks}: train the run again"
        )
    finished = metrics["status"] == "finished"
    sizes = tuple(len(names) for names in metrics["tasks"])
    if not finished and not (folder / "predictions.parquet").is_file():
        predictions = Predictions(
            clip_ids=[], labels=[], class_names=tuple(metrics["classes"]), task_sizes=sizes
        )
    else:
        predictions = Predictions.load(folder / "predictions.parquet")
    if predictions.class_names != tuple(metrics["classes"]) or predictions.task_sizes != sizes:
        raise InputError(
            f"predictions and metrics of {folder} tell of different classes or tasks: "
            "they are not from the same run; train it again"
        )
    if finished and predictions.num_tasks_done < len(sizes):
        raise InputError(
            f"run {folder} is marked finished but has predictions after only "
            f"{predictions.num_tasks_done} of {len(sizes)} tasks: train it again"
        )
    state = "finished" if finished else "running" if _is_held(folder) else "interrupted"
    embeddings = None
    if finished and (folder / EMBEDDINGS).is_file():
        embeddings = Embeddings.load(folder / EMBEDDINGS)
        if embeddings.class_names != predictions.class_names or not set(embeddings.clip_ids) <= set(
            predictions.clip_ids
        ):
            raise InputError(
                f"predictions and embeddings of {folder} tell of different clips or classes: "
                "they are not from the same run; train it again"
            )
    return Run(
        name=str(metrics["method"]),
        folder=folder,
        metrics=metrics,
        predictions=predictions,
        summary=summarise(predictions),
        state=state,
        embeddings=embeddings,
    )


def _is_held(folder: Path) -> bool:
    """Whether a process holds the lock of the folder."""
    try:
        with (folder / ".lock").open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _with_names(runs: list[Run], wanted: list[str]) -> list[Run]:
    """Name the runs; add the folder's name, then more of its path, where names repeat."""
    names = list(wanted)
    for depth in range(1, 9):
        if len(set(names)) == len(names):
            break
        twice = {name for name in names if names.count(name) > 1}
        for i, run in enumerate(runs):
            if names[i] in twice or names[i] != wanted[i]:
                names[i] = f"{wanted[i]} ({'/'.join(run.folder.parts[-depth:])})"
    return [replace(run, name=name) for run, name in zip(runs, names, strict=True)]


def joint_of(run: Run, runs: Sequence[Run]) -> Run | None:
    """The run of ``joint`` on the same tasks, trained on the same; None if there is none.

    Of the same seed, if there is one. There is none for ``joint`` itself and unfinished runs.
    """
    if run.method == "joint" or run.state != "finished":
        return None
    fitting = [
        other
        for other in runs
        if other.method == "joint" and other.state == "finished" and _alike(run, other)
    ]
    same_seed = [other for other in fitting if _seed(other) == _seed(run)]
    return next(iter(same_seed or fitting), None)


def _alike(run: Run, other: Run) -> bool:
    """Whether two runs have the same tasks, regime and backbone; its stem counts as the same."""
    ours, theirs = (_trained(one) for one in (run, other))
    return bool(ours == theirs and run.metrics["tasks"] == other.metrics["tasks"])


def _trained(run: Run) -> tuple[Any, str]:
    config = run.metrics.get("config", {})
    return config.get("regime"), str(config.get("backbone")).removesuffix("-stem")


def _seed(run: Run) -> Any:
    return run.metrics.get("seeds", {}).get("run")


def stored(run: Run, runs: Sequence[Run]) -> Stored:
    """What the metrics can be computed from.

    Args:
        run: The run.
        runs: Among which ``joint`` is looked for.
    """
    joint = joint_of(run, runs)
    return Stored(
        predictions=run.predictions,
        costs=run.metrics.get("costs", {}),
        num_train=run.metrics.get("num_train_per_class"),
        total_train=run.metrics["store"].get("num_train"),
        embeddings=run.embeddings,
        has_scores=run.has_scores,
        joint=None if joint is None else joint.predictions,
    )


def lacking(run: Run) -> dict[str, str]:
    """What some numbers need and the run does not have: group of numbers -> one sentence."""
    again = "`cign train STORE --out RUN --resume` on the finished run adds what is missing"
    result = {}
    if run.embeddings is None:
        if run.state != "finished":
            why = "they are those of the final model, and the run is not finished."
        elif (run.folder / "model").exists():
            why = f"the run was made by an older version; {again}."
        else:
            why = (
                "the run's model was not kept (`cign bench --no-models`); `cign train STORE --out "
                "RUN --resume` learns it again and keeps both."
            )
        result["embeddings"] = f"No embeddings: {why}"
    if not run.has_scores:
        kept = "of this run only the class that was ranked first is kept, not the scores."
        result["open_set"] = f"No numbers of clips of classes not taught: {kept}"
        result["calibration"] = f"No calibration: {kept}"
    if "num_train_per_class" not in run.metrics:
        result["imbalance"] = (
            "No numbers of training clips per class, which many, medium and few need: the run was "
            f"made by an older version; {again}."
        )
    return result
