"""A process that makes one run: the job comes as a line of JSON, what happens goes as lines.

Each run has a process of its own, so that its peak memory is its own and a crash costs nothing
else. It is started as a program and not by multiprocessing, so that nothing of the calling
program runs again in it. It ends when its input does, that is with the process that started it.
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

from cign.bench.made_with import note_code
from cign.errors import CignError
from cign.metrics import embedded
from cign.utils.files import read_json, replacing, write_json
from cign.utils.progress import Progress

Job = dict[str, Any]
Event = dict[str, Any]

FORMAT = 1
RECORD, RESAMPLED = "run.json", "resampled.npy"
_TELL_EVERY_S = 0.5


def make_run(job: Job, progress: Progress) -> None:
    """Make a run, or what is left of it, in its folder; nothing if it is done.

    Args:
        job: ``folder, store, test_store, method, options, groups, order, seed, memory, regime,
            backbone, bf16, threads, keep_model``, and ``device`` where one was asked for.
            ``threads`` None leaves torch as it is.
        progress: Told of steps.
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
    if not begun:  # stopped between the two, before anything was learned
        (folder / "config.yaml").unlink(missing_ok=True)
    note_code(folder, job["method"], goes_on=begun)
    learner = Learner(
        job["method"],
        options=job["options"],
        regime=job["regime"],
        backbone=job["backbone"],
        memory=job["memory"],
        seed=job["seed"],
        bf16=job["bf16"],
        device=job.get("device"),
    )
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
    # The model and the predictions hold all that is still of use.
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
    """What is kept of an exception: a sentence and the traceback."""
    if isinstance(error, CignError):
        text = str(error)
    elif isinstance(error, MemoryError):
        text = "out of memory: use smaller batches or fewer workers"
    else:
        text = " ".join(f"{type(error).__name__}: {error}".split())
    lines = traceback.format_exception(error)
    return {"failed": text, "traceback": "".join(lines)}


class _Told:
    """A progress that sends where the run stands, twice a second at most."""

    def __init__(self, tell: Callable[[Event], None]) -> None:
        self._tell = tell
        self._title, self._done, self._total = "", 0, 0
        self._last = 0.0

    def start(self, title: str, total: int) -> None:
        self._title, self._done, self._total = title, 0, total
        self.advance(0)

    def advance(self, steps: int = 1) -> None:
        self._done += steps
        now = time.monotonic()
        if now - self._last >= _TELL_EVERY_S:
            self._last = now
            self._tell({"at": [self._title, self._done, self._total]})

    def note(self, text: str) -> None:
        pass

    def stop(self) -> None:
        pass


def _end_with_parent() -> None:
    """Leave at once when the input ends; state on disk is whole at any moment."""
    with contextlib.suppress(Exception):
        while os.read(0, 1 << 16):
            pass
    os._exit(1)


def main() -> None:
    """Make the run that the first line of the input asks for."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one that started us decides
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints must not end up among the events

    def tell(event: Event) -> None:
        with contextlib.suppress(BrokenPipeError):
            events.write(json.dumps(event) + "\n")
            events.flush()

    line = b""
    while not line.endswith(b"\n"):  # byte by byte of the system: a buffer would read too far
        part = os.read(0, 1 << 16)
        if not part:
            return
        line += part
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        make_run(json.loads(line), _Told(tell))
    except Exception as error:
        tell(failure_of(error))
        sys.exit(1)
    tell({"done": True})


if __name__ == "__main__":
    main()
