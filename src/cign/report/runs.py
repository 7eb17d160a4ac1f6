"""Load run folders for the report; all numbers are recomputed from the predictions."""

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
from cign.runs.metrics_file import read_metrics

# Value of ``scores`` in ``metrics.json`` for a run stored without its scores.
RANKED_FIRST = "ranked first"
_NEEDED = ("status", "method", "classes", "tasks", "store")


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run in the report.

    Attributes:
        name: Display name: the method, followed by the folder if the method is ambiguous.
        folder: Run folder.
        metrics: Contents of ``metrics.json``.
        predictions: Its predictions for each test clip.
        summary: Metrics, modality -> name -> percent, computed from the predictions.
        state: "finished", "running" (a process locks the folder) or "interrupted".
        embeddings: Embeddings of its final model; None if it stored none.
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
        """Whether its predictions hold scores, not only the top-ranked class."""
        return has_scores(self.metrics)

    @property
    def task_sizes(self) -> tuple[int, ...]:
        """Number of classes of each task."""
        return self.predictions.task_sizes

    @property
    def list_hash(self) -> str:
        """Hash of the clip list of the run; both hashes if it was tested on another list."""
        store = self.metrics["store"]
        hashes = (store.get("list_hash", "unknown"), store.get("test_list_hash"))
        return " + ".join(str(value) for value in hashes if value)


def has_scores(metrics: Mapping[str, Any]) -> bool:
    """Whether a run with these metrics holds scores; see `Run.has_scores`."""
    return bool(metrics.get("scores") != RANKED_FIRST)


def load_runs(folders: Sequence[Path], names: Sequence[str] | None = None) -> list[Run]:
    """Read run folders, or folders that hold several of them.

    Args:
        folders: At least one.
        names: Display names of the runs, one for each; by default their methods.

    Returns:
        The runs, in the order given; inside a folder of runs, by name.

    Raises:
        InputError: If a folder is not a run, its predictions are missing or do not match its
            metrics, or the runs have different clip lists.
    """
    found = [run for folder in folders for run in _expand(folder)]
    found = list(dict.fromkeys(folder.resolve() for folder in found))
    if not found:
        raise InputError(
            "missing-option", "no run was given: name at least one folder that `cign train` wrote"
        )
    runs = [_load(folder) for folder in found]
    hashes = {run.list_hash: run.folder for run in runs}
    if len(hashes) > 1:
        named = "; ".join(f"{value} in {folder}" for value, folder in hashes.items())
        raise InputError(
            "store-mismatch",
            f"the runs were made on different lists of clips ({named}): "
            "report only runs of one store together",
        )
    given = [run.method for run in runs] if names is None else list(names)
    assert len(given) == len(runs), "one name for each run"
    return _with_names(runs, given)


def _expand(folder: Path) -> list[Path]:
    """The folder if it is a run, else the runs directly inside it."""
    if not folder.is_dir():
        raise InputError(
            "file-missing", f"run {folder} is not a folder: name one that `cign train` wrote"
        )
    if (folder / "metrics.json").is_file():
        return [folder]
    inside = sorted(path.parent for path in folder.glob("*/metrics.json"))
    if not inside:
        raise InputError(
            "file-missing",
            f"{folder} holds no metrics.json: it is not a run, or its first task is not done yet",
        )
    return inside


def _load(folder: Path) -> Run:
    metrics = read_metrics(folder)
    if missing := [key for key in _NEEDED if key not in metrics]:
        raise InputError(
            "wrong-format",
            f"{folder / 'metrics.json'} is not the metrics of a run (it lacks "
            f"{', '.join(missing)}): train the run again",
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
            "damaged",
            f"predictions and metrics of {folder} have different classes or tasks: "
            "they are not from the same run; train it again",
        )
    if finished and predictions.num_tasks_done < len(sizes):
        raise InputError(
            "damaged",
            f"run {folder} is marked finished but has predictions after only "
            f"{predictions.num_tasks_done} of {len(sizes)} tasks: train it again",
        )
    state = "finished" if finished else "running" if _is_held(folder) else "interrupted"
    embeddings = None
    if finished and (folder / EMBEDDINGS).is_file():
        embeddings = Embeddings.load(folder / EMBEDDINGS)
        if embeddings.class_names != predictions.class_names or not set(embeddings.clip_ids) <= set(
            predictions.clip_ids
        ):
            raise InputError(
                "damaged",
                f"predictions and embeddings of {folder} have different clips or classes: "
                "they are not from the same run; train it again",
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
    """Whether a process locks the folder."""
    try:
        with (folder / ".lock").open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _with_names(runs: list[Run], given: list[str]) -> list[Run]:
    """Name the runs; append the folder's name, then more of its path, to repeated names."""
    names = list(given)
    for depth in range(1, 9):
        if len(set(names)) == len(names):
            break
        twice = {name for name in names if names.count(name) > 1}
        for i, run in enumerate(runs):
            if names[i] in twice or names[i] != given[i]:
                names[i] = f"{given[i]} ({'/'.join(run.folder.parts[-depth:])})"
    return [replace(run, name=name) for run, name in zip(runs, names, strict=True)]


def joint_of(run: Run, runs: Sequence[Run]) -> Run | None:
    """The run of ``joint`` on the same tasks, alike in `_trained`; None if there is none.

    A run with the same seed is preferred. The result is None for ``joint`` itself and for
    unfinished runs.
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
    """Whether two runs have the same tasks and are alike in `_trained`."""
    ours, theirs = (_trained(one) for one in (run, other))
    return bool(ours == theirs and run.metrics["tasks"] == other.metrics["tasks"])


def _trained(run: Run) -> tuple[Any, str, str]:
    """Regime, backbone and stream of a run; a stem counts as its backbone."""
    config = run.metrics.get("config", {})
    backbone = str(config.get("backbone")).removesuffix("-stem")
    return config.get("regime"), backbone, stream_of(run)


def stream_of(run: Run) -> str:
    """How the training clips of a run arrived; ``tasks`` for runs of earlier versions."""
    return str(run.metrics.get("config", {}).get("stream", "tasks"))


def _seed(run: Run) -> Any:
    return run.metrics.get("seeds", {}).get("run")


def stored(run: Run, runs: Sequence[Run]) -> Stored:
    """The data from which metrics are computed.

    Args:
        run: The run.
        runs: Runs to search for ``joint``.
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
        stream=stream_of(run),
        curve=run.metrics.get("online", {}).get("points", ()),
    )


def lacking(run: Run) -> dict[str, str]:
    """Data that metrics need and the run lacks: group of metrics -> one sentence."""
    again = "`cign train STORE --out RUN --resume` on the finished run adds what is missing"
    result = {}
    if run.embeddings is None:
        if run.state != "finished":
            why = "they come from the final model, and the run is not finished."
        elif (run.folder / "model").exists():
            why = f"the run was made by an older version; {again}."
        else:
            why = (
                "the run's model was not saved (`cign bench --no-models`); `cign train STORE --out "
                "RUN --resume` learns it again and saves both."
            )
        result["embeddings"] = f"No embeddings: {why}"
    if not run.has_scores:
        reason = "this run stores only the top-ranked class of each clip, not the scores."
        result["open_set"] = f"No detection of unknown classes: {reason}"
        result["calibration"] = f"No calibration: {reason}"
    if "num_train_per_class" not in run.metrics:
        result["imbalance"] = (
            "No recall by class frequency (many, medium, few), which needs the number of training "
            f"clips per class: the run was made by an older version; {again}."
        )
    return result
