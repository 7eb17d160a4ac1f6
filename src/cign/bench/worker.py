"""Worker process that makes one run (see `cign.utils.pool`).

Each run has its own process, so that its peak memory can be measured and a crash does not affect
other runs.
"""

from __future__ import annotations

import shutil
import time
import traceback
from pathlib import Path
from typing import Any

from cign.errors import OUT_OF_MEMORY, CignError, is_out_of_memory, reason_of
from cign.metrics import embedded
from cign.utils.files import read_json, replacing, write_json
from cign.utils.pool import Message, Send, serve
from cign.utils.progress import Progress, Silent

Job = dict[str, Any]

FORMAT = 1
RECORD, RESAMPLED = "run.json", "resampled.npy"
_REPORT_EVERY_S = 0.5


def make_run(job: Job, progress: Progress) -> None:
    """Make or resume a run in its folder; does nothing if the run is finished.

    Args:
        job: ``folder, store, test_store, method, options, groups, order, settings, threads,
            keep_model``, and optionally ``callbacks, log_every, group``. ``settings`` are run
            options by name; without ``device`` among them, an interrupted run resumes on the device
            it started on. ``threads`` None does not change torch's setting.
        progress: Receives the steps.
    """
    import torch

    from cign.data.store import Store
    from cign.data.tasks import TaskSequence
    from cign.learner import Learner

    folder = Path(job["folder"])
    if is_done(folder):
        return
    if job["threads"] is not None:
        torch.set_num_threads(job["threads"])
    begun = (folder / "config.yaml").exists() and (folder / "metrics.json").exists()
    if not begun:  # interrupted after config.yaml was written, before the first task was learned
        (folder / "config.yaml").unlink(missing_ok=True)
    learner = Learner(job["method"], options=job["options"], **job["settings"])
    test_store = None if job["test_store"] is None else Store.open(Path(job["test_store"]))
    learner.learn(
        job["store"],
        tasks=TaskSequence(tuple(tuple(group) for group in job["groups"])),
        order=job["order"],
        out=folder,
        resume=begun,
        test_store=test_store,
        callbacks=job.get("callbacks", ()),
        log_every=job.get("log_every"),
        group=job.get("group", ""),
        progress=progress,
    )
    save_resampled(folder)
    write_json(folder / RECORD, {"format": FORMAT, "status": "finished"})
    # The checkpoint is no longer needed: the model and the predictions hold the results.
    (folder / "checkpoint.safetensors").unlink(missing_ok=True)
    if not job["keep_model"]:
        shutil.rmtree(folder / "model", ignore_errors=True)
        (folder / embedded.FILE).unlink(missing_ok=True)


def save_resampled(folder: Path) -> None:
    """Write the run's numbers on resampled test clips beside its predictions."""
    import numpy as np

    from cign.bench.resampling import resampled_numbers
    from cign.metrics.predictions import Predictions
    from cign.runs.metrics_file import read_metrics

    store = read_metrics(folder)["store"]
    scored = store.get("test_list_hash", store["list_hash"])
    values = resampled_numbers(Predictions.load(folder / "predictions.parquet"), scored)
    with replacing(folder / RESAMPLED) as temporary, temporary.open("wb") as file:
        np.save(file, values, allow_pickle=False)


def is_done(folder: Path) -> bool:
    """Whether a folder holds a finished run of a bench."""
    path = folder / RECORD
    return path.exists() and read_json(path, "record of the run").get("status") == "finished"


def failure_of(error: Exception) -> Message:
    """Answer that reports an exception: a sentence, its code if it has one, and the traceback."""
    if is_out_of_memory(error):
        text = OUT_OF_MEMORY
    elif isinstance(error, CignError):
        text = str(error)
    else:
        text = reason_of(error)
    lines = traceback.format_exception(error)
    code = error.code if isinstance(error, CignError) else None
    return {"failed": text, "code": code, "traceback": "".join(lines)}


class _Reporter(Silent):
    """Progress that sends messages, at most two per second."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._title, self._done, self._total = "", 0, 0
        self._last = 0.0

    def start(self, title: str, total: int) -> None:
        self._title, self._done, self._total = title, 0, total
        self.advance(0)

    def advance(self, steps: int = 1) -> None:
        self._done += steps
        now = time.monotonic()
        if now - self._last >= _REPORT_EVERY_S:
            self._last = now
            self._send({"at": [self._title, self._done, self._total]})


def work(job: Job, send: Send) -> Message:
    """Make a run; the answer is ``done``, or a failure."""
    try:
        make_run(job, _Reporter(send))
    except Exception as error:
        return failure_of(error)
    return {"done": True}


def main() -> None:
    """Make the runs that the parent process asks for."""
    serve(work)


if __name__ == "__main__":
    main()
