"""Predictions of a run for every test clip after every task; all metrics derive from them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cign.errors import InputError
from cign.utils.files import replacing
from cign.vocabulary import MODALITIES

_METADATA_KEY = b"cign"
_COLUMNS = ("clip", "task", "labels", *MODALITIES)

Scores = dict[str, npt.NDArray[np.float32]]


@dataclass(kw_only=True)
class Predictions:
    """Scores of all test and unknown clips on the classes seen, after each task learned so far.

    Scores are the values by which the method ranks classes: probabilities, logits or
    log-probabilities. Only their order matters here. Minus infinity is allowed, NaN is not.

    Attributes:
        clip_ids: N unique clip ids.
        labels: The labels of each clip; some or all may be missing from ``class_names``.
        class_names: C classes in the order in which the run learns them.
        task_sizes: Number of classes of each of the T tasks; they sum to C.
        scores: For each task learned so far, modality -> ``[N, num_classes_seen]``. A run in
            progress has fewer entries than ``task_sizes``.

    Raises:
        InputError: If a modality is missing, a shape does not match, or a score is NaN.
    """

    clip_ids: list[str]
    labels: list[tuple[str, ...]]
    class_names: tuple[str, ...]
    task_sizes: tuple[int, ...]
    scores: list[Scores] = field(default_factory=list)

    def __post_init__(self) -> None:
        if len(self.clip_ids) != len(self.labels):
            raise InputError(
                "bad-value",
                f"predictions have {len(self.clip_ids)} clips but labels for {len(self.labels)}: "
                "give one tuple of labels per clip",
            )
        if len(set(self.clip_ids)) != len(self.clip_ids):
            raise InputError("bad-value", "predictions name a clip twice: clip ids must be unique")
        if len(set(self.class_names)) != len(self.class_names):
            raise InputError(
                "bad-value", "predictions name a class twice: class names must be unique"
            )
        if sum(self.task_sizes) != len(self.class_names) or any(n < 1 for n in self.task_sizes):
            raise InputError(
                "bad-value",
                f"task sizes {list(self.task_sizes)} do not add up to {len(self.class_names)} "
                "classes: every class belongs to one task and no task is empty",
            )
        given, self.scores = self.scores, []
        for scores in given:
            self.add_task(scores)

    @property
    def num_clips(self) -> int:
        """Number of clips with scores."""
        return len(self.clip_ids)

    @property
    def num_tasks_done(self) -> int:
        """Number of tasks learned so far."""
        return len(self.scores)

    def num_seen(self, task: int) -> int:
        """Number of classes seen once ``task`` (from 0) has been learned."""
        return sum(self.task_sizes[: task + 1])

    def add_task(self, scores: Mapping[str, npt.ArrayLike]) -> None:
        """Append the scores after the next task.

        Args:
            scores: modality -> ``[N, num_classes_seen]``; stored as float32.

        Raises:
            InputError: If a modality is missing, a shape does not match, or a score is NaN.
        """
        task = len(self.scores)
        if task >= len(self.task_sizes):
            raise InputError(
                "bad-value",
                f"scores after task {task + 1} were given for a run of {len(self.task_sizes)} "
                "tasks: task sizes and scores must belong to the same run",
            )
        expected_shape = (self.num_clips, self.num_seen(task))
        checked: Scores = {}
        for modality in MODALITIES:
            if modality not in scores:
                raise InputError(
                    "bad-value",
                    f"scores after task {task + 1} lack the {modality} modality: "
                    f"give all of {', '.join(MODALITIES)}",
                )
            array = np.asarray(scores[modality], dtype=np.float32)
            if array.shape != expected_shape:
                raise InputError(
                    "bad-value",
                    f"{modality} scores after task {task + 1} have shape {array.shape}: "
                    f"{expected_shape} (clips, classes seen) is needed",
                )
            if np.isnan(array).any():
                clip = self.clip_ids[int(np.isnan(array).any(axis=1).argmax())]
                raise InputError(
                    "diverged",
                    f"{modality} score of clip {clip} after task {task + 1} is not a number: "
                    "training diverged; lower the learning rate",
                )
            checked[modality] = array
        self.scores.append(checked)

    def save(self, path: Path) -> None:
        """Write a Parquet file, one row per task and clip, atomically.

        Columns: ``clip`` (string), ``task`` (number of tasks learned, from 1), ``labels`` (list of
        strings) and one list of float32 per modality, on the classes seen so far in class order.
        The file's metadata holds class names, task sizes and the number of tasks done as JSON
        under ``cign``.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema = _schema(self)
        with (
            replacing(path) as temporary,
            pq.ParquetWriter(temporary, schema, compression="zstd") as writer,
        ):
            for task, scores in enumerate(self.scores):
                columns = [
                    pa.array(self.clip_ids, pa.string()),
                    pa.array(np.full(self.num_clips, task + 1, np.int32)),
                    pa.array([list(labels) for labels in self.labels], pa.list_(pa.string())),
                    *(_lists(scores[modality]) for modality in MODALITIES),
                ]
                writer.write_table(pa.Table.from_arrays(columns, schema=schema))

    @classmethod
    def load(cls, path: Path) -> Predictions:
        """Load a file written by :meth:`save`.

        Raises:
            InputError: If the file is missing, has another format, or lacks columns or rows.
        """
        import pyarrow as pa

        from cign.data.clip_file import read_columns

        if not path.is_file():
            raise InputError(
                "file-missing", f"predictions not found: {path} does not exist; train the run again"
            )
        try:
            table = read_columns(path)
        except (pa.ArrowException, OSError) as error:
            reason = str(error).splitlines()[0]
            raise _unreadable(path, reason) from None
        missing = [name for name in _COLUMNS if name not in table.column_names]
        if missing:
            raise _unreadable(path, f"it lacks the columns {', '.join(missing)}")
        try:
            about = json.loads((table.schema.metadata or {})[_METADATA_KEY])
            class_names = tuple(map(str, about["class_names"]))
            task_sizes = tuple(map(int, about["task_sizes"]))
            num_done = int(about["num_tasks_done"])
        except (KeyError, TypeError, ValueError):
            raise _unreadable(path, "its metadata is missing or invalid") from None
        return _from_table(table, class_names, task_sizes, num_done, path)


def _schema(predictions: Predictions) -> Any:
    """The Parquet schema, with classes and tasks as metadata."""
    import pyarrow as pa

    about = {
        "format": 1,
        "class_names": list(predictions.class_names),
        "task_sizes": list(predictions.task_sizes),
        "num_tasks_done": predictions.num_tasks_done,  # unknown from the rows if no clip
    }
    fields = [
        ("clip", pa.string()),
        ("task", pa.int32()),
        ("labels", pa.list_(pa.string())),
        *((modality, pa.list_(pa.float32())) for modality in MODALITIES),
    ]
    return pa.schema(fields, metadata={_METADATA_KEY: json.dumps(about).encode()})


def _lists(scores_NC: npt.NDArray[np.float32]) -> Any:
    """Convert a matrix to an Arrow column of lists without copying row by row."""
    import pyarrow as pa

    num_rows, num_columns = scores_NC.shape
    offsets = np.arange(num_rows + 1, dtype=np.int32) * num_columns
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(scores_NC.ravel()))


def _from_table(
    table: Any, class_names: tuple[str, ...], task_sizes: tuple[int, ...], num_done: int, path: Path
) -> Predictions:
    """Split the rows by task; every task must hold the same clips in the same order."""
    tasks = table["task"].to_numpy()
    clip_ids = table["clip"].to_pylist()
    num_clips = len(tasks) // num_done if num_done else 0
    expected = np.repeat(np.arange(1, num_done + 1), num_clips)
    if not np.array_equal(tasks, expected) or clip_ids != clip_ids[:num_clips] * num_done:
        raise _unreadable(path, "its tasks do not hold the same clips in the same order")
    labels = [tuple(names) for names in table["labels"][:num_clips].to_pylist()]
    predictions = Predictions(
        clip_ids=clip_ids[:num_clips],
        labels=labels,
        class_names=class_names,
        task_sizes=task_sizes,
    )
    for task in range(num_done):
        rows = table.slice(task * num_clips, num_clips).combine_chunks()
        scores = {}
        for modality in MODALITIES:
            column = rows[modality].combine_chunks()
            lengths = column.value_lengths().to_numpy(zero_copy_only=False)
            width = predictions.num_seen(task)
            if np.any(lengths != width):
                raise _unreadable(path, f"not all {modality} lists of task {task + 1} hold {width}")
            values = column.flatten().to_numpy(zero_copy_only=False)
            scores[modality] = values.reshape(num_clips, width)
        predictions.add_task(scores)
    return predictions


def _unreadable(path: Path, reason: str) -> InputError:
    return InputError(
        "file-unreadable", f"predictions {path} cannot be read ({reason}): train the run again"
    )
