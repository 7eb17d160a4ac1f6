"""Make one run of a comparison table, and keep its numbers and predictions in one file.

A file holds what the table needs and no more: metrics, costs, options and commit as JSON; and of
every test clip the class that each modality ranked first, or, if clips have several labels, the
rank of the clip among all clips by each class. The last accuracy, the mean average precision and
their intervals follow from these exactly.

Legend: N test clips, C classes in the order of the data, 3 modalities.
"""

from __future__ import annotations

import functools
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from all_clips import NUM_INNER_FOLDS, all_clips_scores
from compare_jobs import Job, defaults_of, options_of
from compare_stores import token_name
from folds import folds

from cign.bench.worker import failure_of
from cign.data.store import Store
from cign.errors import InputError
from cign.methods.capabilities import selected_settings
from cign.metrics.incremental import summarise
from cign.metrics.predictions import Predictions
from cign.runs.arrival import ArrivalConfig
from cign.runs.build import build_loop
from cign.runs.configuration import RunConfig
from cign.runs.record import describe, machine
from cign.runs.training_data import TrainingData
from cign.utils.code_version import PACKAGE, CodeVersion, code_version
from cign.utils.files import replacing
from cign.utils.pool import Message, Send, serve
from cign.vocabulary import MODALITIES

FORMAT = 1
METRICS = ("last", "average", "forgetting")
CODE = (
    *("all_clips.py", "few_shot.py", "folds.py"),
    *("compare_data.py", "compare_stores.py", "compare_jobs.py", "compare_runs.py"),
)
Integers = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A finished run.

    Attributes:
        record: Job, options, metrics, costs and code as JSON values.
        answers: Index of the class ranked first, [3, N]; or ranks of the clips, [3, N, C].
    """

    record: dict[str, Any]
    answers: Integers

    def save(self, path: Path) -> None:
        """Write a file, atomically."""
        path.parent.mkdir(parents=True, exist_ok=True)
        record = np.frombuffer(json.dumps(self.record, sort_keys=True).encode(), np.uint8)
        with replacing(path) as temporary, temporary.open("wb") as file:
            # Not compressed: the archive of all runs compresses what they share.
            np.savez(file, record=record, answers=self.answers)

    @classmethod
    def load(cls, path: Path) -> Kept:
        """Read a file."""
        with np.load(path, allow_pickle=False) as found:
            return cls(record=json.loads(found["record"].tobytes()), answers=found["answers"])


def run_file(work: Path, job: Job) -> Path:
    """The file of a run."""
    return work / "runs" / f"{job.name}.npz"


def is_current(path: Path, job: Job) -> bool:
    """Whether a run is finished, with the options that its method has now."""
    return current(path, job) is not None


def current(path: Path, job: Job) -> Kept | None:
    """A run that is finished with the options that its method has now; None if there is none.

    An option that did not exist when the run was made must have its default.
    """
    if not path.is_file():
        return None
    kept = Kept.load(path)
    reference, options = options_of(job.row, job.limits)
    then_reference, then = kept.record["method"]
    since = {} if job.row.trains_on_all else defaults_of(job.row.method)
    filled = {**{name: since[name] for name in since.keys() - then.keys()}, **then}
    same = then_reference == reference and filled == options
    return kept if same and kept.record["format"] == FORMAT else None


def make_run(job: Job, work: Path, code: CodeVersion | None = None) -> Kept:
    """Make a run.

    Args:
        job: The run.
        work: Folder of the stores.
        code: Version of the code; None asks git.

    Returns:
        What is kept of it; nothing is written.
    """
    store, backbone = _store(work, job)
    seen = job.table.data.view(store, job.part, job.table.shots)
    begun, begun_cpu = time.monotonic(), time.process_time()
    make = _learn_at_once if job.row.trains_on_all else _learn
    predictions, about = make(job, seen, backbone)
    seconds, cpu_seconds = time.monotonic() - begun, time.process_time() - begun_cpu
    modalities = summarise(predictions)
    record = {
        "format": FORMAT,
        "job": job.plain(),
        "method": options_of(job.row, job.limits),
        "clips": [list(predictions.clip_ids), [list(names) for names in predictions.labels]],
        "classes": list(seen.class_names),
        "tokens": store.tokens(backbone).fingerprint,
        "modalities": {
            modality: {name: modalities[modality][name] for name in METRICS}
            for modality in MODALITIES
        },
        **about,
        "seconds": round(seconds, 3),
        "cpu_seconds": round(cpu_seconds, 3),
        "code": code or current_code(),
        "processor": processor(),
    }
    return Kept(record=record, answers=answers_of(predictions, seen.class_names, job))


def processor() -> str:
    """Name of the processor, and whether it has AMX, which rounds products differently."""
    path = Path("/proc/cpuinfo")
    has_amx = path.is_file() and "amx_bf16" in path.read_text(encoding="utf-8").split()
    return f"{machine()['processor']}, {'with' if has_amx else 'without'} AMX"


def current_code() -> CodeVersion:
    """Version of the package and of these scripts."""
    return code_version(PACKAGE, *(Path(__file__).with_name(name) for name in CODE))


def _store(work: Path, job: Job) -> tuple[Store, str]:
    """A store and the name of its tokens.

    Raises:
        InputError: If the tokens are missing.
    """
    return _opened(job.table.data.folder(work, job.part, job.backbone), job.backbone)


@functools.lru_cache(maxsize=2)
def _opened(folder: Path, backbone: str) -> tuple[Store, str]:
    name = token_name(folder, backbone)
    if name is None:
        raise InputError("file-missing", f"{folder} has no tokens of {backbone}: prepare it")
    return Store.open(folder), name


def _learn(job: Job, store: Store, backbone: str) -> tuple[Predictions, dict[str, Any]]:
    """Learn the classes task by task with a method of the package."""
    reference, options = options_of(job.row, job.limits)
    arrival = ArrivalConfig(stream=job.table.stream)
    config = RunConfig.of(
        reference,
        options=options,
        tasks=arrival.cut(store.class_names, job.table.num_tasks, job.order).groups,
        stream=job.table.stream,
        order=job.order,
        backbone=backbone,
        memory=job.row.memory,
        device="cpu",
        bf16=True,
    )
    data = TrainingData.open(config, store)
    loop = build_loop(config, data)
    loop.run()
    costs = describe(config, loop, data, code=[])["costs"]
    return loop.predictions, {
        "num_train": len(data.train),
        "bytes_kept": costs["bytes_kept"],
        "trainable_parameters": costs["trainable_parameters"],
        "selected": selected_settings(loop.method),
    }


def _learn_at_once(job: Job, store: Store, backbone: str) -> tuple[Predictions, dict[str, Any]]:
    """Train a classifier on all clips at once; its predictions are those after a single task."""
    train, test = store.indices("train"), store.indices("test")
    tokens = store.tokens(backbone)
    clips, names = store.table.clips, store.class_names
    numbers = {name: number for number, name in enumerate(names)}
    targets_NC = np.zeros((len(train), len(names)), dtype=bool)
    for row, index in enumerate(train):
        targets_NC[row, [numbers[name] for name in clips[index].labels]] = True
    scores, chosen = all_clips_scores(
        job.row.method,
        {"audio": tokens.audio(train), "visual": tokens.visual(train)},
        {"audio": tokens.audio(test), "visual": tokens.visual(test)},
        targets_NC,
        folds([clips[index] for index in train], NUM_INNER_FOLDS),
    )
    predictions = Predictions(
        clip_ids=[clips[index].id for index in test],
        labels=[clips[index].labels for index in test],
        class_names=names,
        task_sizes=(len(names),),
    )
    predictions.add_task(scores)
    selected = {name: {"candidate": index} for name, index in chosen.items()}
    return predictions, {"num_train": len(train), "selected": selected}


def answers_of(predictions: Predictions, class_names: tuple[str, ...], job: Job) -> Integers:
    """What is kept of the predictions after the last task.

    Args:
        predictions: Of a finished run.
        class_names: In the order of the data.
        job: The run.

    Returns:
        ``answers`` of `Kept`; equal scores of a class have the same rank, the lowest is 0.
    """
    place = [predictions.class_names.index(name) for name in class_names]
    last = predictions.scores[-1]
    if job.table.data.is_multi_label:
        ranks = [_ranks(last[modality][:, place]) for modality in MODALITIES]
        return np.stack(ranks).astype(np.uint16)
    number_of = np.argsort(place)
    first = [number_of[last[modality].argmax(axis=1)] for modality in MODALITIES]
    return np.stack(first).astype(np.uint8)


def _ranks(scores_NC: npt.NDArray[np.floating[Any]]) -> Integers:
    columns = [np.unique(column, return_inverse=True)[1] for column in scores_NC.T]
    return np.stack(columns, axis=1)


def predictions_of(kept: Kept) -> Predictions:
    """Predictions after a single task, with the last metrics of the run that was kept."""
    ids, labels = kept.record["clips"]
    classes = kept.record["classes"]
    predictions = Predictions(
        clip_ids=ids,
        labels=[tuple(names) for names in labels],
        class_names=tuple(classes),
        task_sizes=(len(classes),),
    )
    one_hot = np.eye(len(classes), dtype=np.float32)
    given = kept.answers if kept.answers.ndim == 3 else one_hot[kept.answers]
    predictions.add_task(dict(zip(MODALITIES, given.astype(np.float32), strict=True)))
    return predictions


def work(task: dict[str, Any], send: Send) -> Message:
    """Make a run for the parent process, unless its time is over.

    Args:
        task: ``job``; ``work``, the folder; ``deadline`` in seconds of the system clock or None;
            ``expected_s``, the seconds that the run is expected to take.
        send: Not used.
    """
    job, folder = Job.of(task["job"]), Path(task["work"])
    if task["deadline"] is not None and time.time() + task["expected_s"] > task["deadline"]:
        return {"skipped": True}
    try:
        kept = make_run(job, folder, _code())
        kept.save(run_file(folder, job))
    except Exception as error:  # a failed run must not stop the others
        return failure_of(error)
    return {"seconds": kept.record["cpu_seconds"]}


@functools.cache
def _code() -> CodeVersion:
    return current_code()


def main() -> None:
    """Make the runs that the parent process asks for."""
    import torch

    torch.set_num_threads(1)
    serve(work)


if __name__ == "__main__":
    main()
