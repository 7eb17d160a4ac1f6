"""Worker process that makes one run: reads the job as a line of JSON, writes events as lines.

Each run has its own process, so that its peak memory can be measured and a crash does not affect
other runs. It is started as a program and not by multiprocessing, so that no code of the calling
program runs in it. It ends when its standard input closes, that is, when its parent process ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cign.errors import CignError
from cign.metrics import embedded
from cign.utils.files import read_json, replacing, write_json
from cign.utils.progress import Progress

Job = dict[str, Any]
Event = dict[str, Any]

FORMAT = 1
RECORD, RESAMPLED = "run.json", "resampled.npy"
_REPORT_EVERY_S = 0.5


def make_run(job: Job, progress: Progress) -> None:
    """Make or resume a run in its folder; does nothing if the run is finished.

    Args:
        job: ``folder, store, test_store, method, options, groups, order, settings, threads,
            keep_model``. ``settings`` are run options by name; without ``device`` among them, an
            interrupted run resumes on the device it started on. ``threads`` None does not change
            torch's setting.
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

    store = read_json(folder / "metrics.json", "metrics")["store"]
    scored = store.get("test_list_hash", store["list_hash"])
    values = resampled_numbers(Predictions.load(folder / "predictions.parquet"), scored)
    with replacing(folder / RESAMPLED) as temporary, temporary.open("wb") as file:
        np.save(file, values, allow_pickle=False)


def is_done(folder: Path) -> bool:
    """Whether a folder holds a finished run of a bench."""
    path = folder / RECORD
    return path.exists() and read_json(path, "record of the run").get("status") == "finished"


def failure_of(error: Exception) -> Event:
    """Event that reports an exception: a sentence and the traceback."""
    if isinstance(error, CignError):
        text = str(error)
    elif isinstance(error, MemoryError):
        text = "out of memory: use smaller batches or fewer workers"
    else:
        text = " ".join(f"{type(error).__name__}: {error}".split())
    lines = traceback.format_exception(error)
    return {"failed": text, "traceback": "".join(lines)}


class _Reporter:
    """Progress that sends events, at most two per second."""

    def __init__(self, send: Callable[[Event], None]) -> None:
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

    def note(self, text: str) -> None:
        pass

    def stop(self) -> None:
        pass


def _end_with_parent() -> None:
    """Exit at once when the input closes; atomic writes keep the files on disk consistent."""
    with contextlib.suppress(Exception):
        while os.read(0, 1 << 16):
            pass
    os._exit(1)


def main() -> None:
    """Make the run described by the first line of the input."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process handles interrupts
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints must not mix with the events

    def send(event: Event) -> None:
        with contextlib.suppress(BrokenPipeError):
            events.write(json.dumps(event) + "\n")
            events.flush()

    line = b""
    while not line.endswith(b"\n"):  # unbuffered: a buffer would read past the line
        part = os.read(0, 1 << 16)
        if not part:
            return
        line += part
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        make_run(json.loads(line), _Reporter(send))
    except Exception as error:
        send(failure_of(error))
        sys.exit(1)
    send({"done": True})


if __name__ == "__main__":
    main()
