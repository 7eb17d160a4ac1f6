"""Decode with several processes, any of which may crash or hang at any file."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from cign.data.media.decode import MediaSpec
from cign.data.prepare.worker import Answer, Decoder, failed
from cign.errors import RunError
from cign.utils.pool import Ending, Program, Task, run_tasks

# -P: a file of the working folder must not shadow a module.
PROGRAM = (sys.executable, "-P", "-m", "cign.data.prepare.worker")


def decode_all(
    tasks: Sequence[Task],
    spec: MediaSpec,
    folder: Path | None,
    *,
    num_workers: int | None = None,
    timeout_s: float = 300.0,
) -> Iterator[Answer]:
    """Decode clips in parallel and write them to the arrays of a store.

    Args:
        tasks: See `cign.data.prepare.worker.Decoder`.
        spec: Frames and audio to take from each clip.
        folder: The store's folder; if absent, nothing is written.
        num_workers: Worker processes; one per core if absent, none (decode in this process) if 0.
        timeout_s: Time limit per file in seconds; a file that takes longer is left out as
            unreadable.

    Yields:
        One answer per task, in order of completion. A file at which a process crashes or hangs
        has an answer too, and does not affect other files.

    Raises:
        RunError: If the processes cannot start.
        MemoryError: If a clip cannot be decoded because there is too little memory for any clip.
    """
    if num_workers is None:
        num_workers = len(os.sched_getaffinity(0))
    if num_workers == 0:
        yield from map(checked, map(Decoder(spec, folder), tasks))
        return
    setup = {"spec": spec.to_dict(), "folder": None if folder is None else str(folder)}
    program = Program(command=(*PROGRAM, json.dumps(setup)), num_threads=1)
    endings = run_tasks(
        tasks,
        lambda _: program,
        num_workers=num_workers,
        reuse=True,
        num_retries=1,
        timeout_s=timeout_s,
    )
    with contextlib.closing(endings):
        for ending in endings:
            yield checked(ending.answer or _lost(ending, program, timeout_s))


def checked(answer: Answer) -> Answer:
    """Return an answer, unless the process lacked memory: then the clip is not the cause.

    Raises:
        MemoryError: If it did.
    """
    if "out_of_memory" in answer:
        raise MemoryError
    return answer


def _lost(ending: Ending, program: Program, timeout_s: float) -> Answer:
    """The answer for a file at which a process crashed or hung.

    Raises:
        RunError: If the process gave no answer before, and did not end by a signal: then the file
            is not the cause.
    """
    code = ending.exit_code
    if code > 0 and not ending.num_before:
        raise RunError(
            "process-failed",
            f"a decoding process cannot start (exit code {code}): run "
            f"`{shlex.join(program.command)}` to see the error",
        )
    ended = f"signal {ending.signal}" if ending.signal else f"exit code {code}"
    reason = (
        f"decoding took more than {timeout_s:g} s"
        if ending.timed_out
        else f"the decoder crashed on it ({ended})"
    )
    return failed(ending.task["row"], "unreadable", reason)
