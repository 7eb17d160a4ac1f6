"""Tasks in worker processes: a process that crashes or hangs fails only its own task.

A worker is started as a program, not by multiprocessing, so that no code of the calling program
runs again in it, and a script needs no ``if __name__ == "__main__"``. Tasks and messages are lines
of JSON: ``ready`` comes first, ``at`` reports progress, any other is the answer. A worker ends
when its input ends, that is, with the process that started it.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import queue
import selectors
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import cign

Task = dict[str, Any]
Message = dict[str, Any]
Send = Callable[[Message], None]

_START_S = 60.0  # what a worker may take to start, beyond the time limit of its first task
_READY = {"ready": True}  # first message of a worker
_EXIT_S = 10.0  # longest time between the end of a worker's output and its exit


@dataclass(frozen=True, kw_only=True)
class Program:
    """How to start a worker.

    Attributes:
        command: Command line.
        num_threads: Threads of numerical libraries; None for their default.
        log: File for what it prints; None discards it.
    """

    command: Sequence[str]
    num_threads: int | None
    log: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How a task ended.

    Attributes:
        task: The task.
        answer: The answer; None if the process ended without one.
        exit_code: Exit code of a process without an answer; negative for a signal.
        timed_out: Whether the process was killed because of the time limit.
        num_before: Number of tasks that the process answered before.
        seconds: Time from the start of the task.
    """

    task: Task
    answer: Message | None
    exit_code: int = 0
    timed_out: bool = False
    num_before: int = 0
    seconds: float = 0.0

    @property
    def signal(self) -> str:
        """Name of the signal that ended a process without an answer; empty if there is none."""
        return signal.Signals(-self.exit_code).name if self.exit_code < 0 else ""


def run_tasks(
    tasks: Sequence[Task],
    program: Callable[[Task], Program],
    *,
    num_workers: int,
    reuse: bool = False,
    num_retries: int = 0,
    timeout_s: float = math.inf,
    moved: Callable[[Task, Any], None] = lambda task, at: None,
) -> Generator[Ending, None, None]:
    """Run tasks in parallel processes.

    Args:
        tasks: What `serve` gives to the function of a worker; JSON values.
        program: How to start a worker for a task.
        num_workers: Maximum number of processes.
        reuse: Whether a process takes further tasks; otherwise each task has its own.
        num_retries: Further attempts for a task whose process ended without an answer, except by
            the time limit: the cause may be another one, such as lack of memory.
        timeout_s: Time limit per task in seconds, without the start of a process.
        moved: Called with a task and the value of ``at`` for each progress message.

    Yields:
        One ending per task, in order of completion. Closing the generator kills the processes.
    """
    waiting = deque((task, num_retries) for task in tasks)
    working: set[_Process] = set()
    with selectors.DefaultSelector() as selector:

        def begin(process: _Process | None = None) -> None:
            """Give a process the next task; start one if None."""
            task, retries = waiting.popleft()
            if process is None:
                process = _Process(program(task))
                working.add(process)
                selector.register(process.output, selectors.EVENT_READ, process)
            process.give(task, retries, timeout_s)

        try:
            while waiting or working:
                while waiting and len(working) < num_workers:
                    begin()
                for key, _ in selector.select(_until_first_deadline_s(working)):
                    process: _Process = key.data
                    for message in process.read():
                        if "at" in message:
                            moved(process.task, message["at"])
                        else:
                            process.answer = message
                    if process.answer is None and not process.has_ended:
                        continue
                    if process.answer is not None and reuse and waiting:
                        ending = process.ending()
                        begin(process)
                    else:
                        selector.unregister(process.output)
                        working.remove(process)
                        process.stop()
                        ending = process.ending()
                    if ending.answer is None and not ending.timed_out and process.retries:
                        waiting.append((process.task, process.retries - 1))
                    else:
                        yield ending
                for process in working:
                    if process.deadline_s < time.monotonic():
                        process.time_out()
        finally:
            for process in working:
                process.process.kill()
            for process in working:
                process.stop()


def _until_first_deadline_s(working: set[_Process]) -> float | None:
    first = min(process.deadline_s for process in working)
    return None if math.isinf(first) else max(first - time.monotonic(), 0.0) + 0.01


class _Process:
    """A worker process and its current task."""

    def __init__(self, program: Program) -> None:
        root = str(Path(cign.__file__).parents[1])
        paths = filter(None, (root, os.environ.get("PYTHONPATH")))
        threads = str(program.num_threads or "")
        with contextlib.ExitStack() as stack:
            log = program.log and stack.enter_context(program.log.open("wb"))
            self.process = subprocess.Popen(
                list(program.command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log or subprocess.DEVNULL,
                env={
                    **os.environ,
                    "OMP_NUM_THREADS": threads,
                    "OPENBLAS_NUM_THREADS": threads,
                    "PYTHONPATH": os.pathsep.join(paths),
                },
            )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._input: IO[bytes] = self.process.stdin
        self.output: IO[bytes] = self.process.stdout
        self._buffer = b""
        self._num_tasks = 0
        self._is_ready = self.has_ended = False

    def give(self, task: Task, retries: int, timeout_s: float) -> None:
        """Send a task; a process that has ended is detected when its output is read."""
        self.task, self.retries = task, retries
        self.answer: Message | None = None
        self._timed_out = False
        self._num_tasks += 1
        self._begin_s = time.monotonic()
        self._timeout_s = timeout_s
        self.deadline_s = self._begin_s + timeout_s + (0.0 if self._is_ready else _START_S)
        with contextlib.suppress(BrokenPipeError):
            self._input.write(json.dumps(task).encode() + b"\n")
            self._input.flush()

    def read(self) -> list[Message]:
        """The complete messages of the available output; none if there is only a part of one."""
        chunk = os.read(self.output.fileno(), 1 << 16)
        self.has_ended = not chunk
        *lines, self._buffer = (self._buffer + chunk).split(b"\n")
        messages: list[Message] = [json.loads(line) for line in lines]
        if messages and not self._is_ready:
            self._is_ready, self.deadline_s = True, time.monotonic() + self._timeout_s
        return [message for message in messages if message != _READY]

    def time_out(self) -> None:
        """Kill the process; its output then ends."""
        self._timed_out, self.deadline_s = True, math.inf
        self.process.kill()

    def stop(self) -> None:
        """Close both pipes, which ends the process, and wait for it."""
        if self.has_ended:  # closing its input now would replace its exit code
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(_EXIT_S)
        with contextlib.suppress(BrokenPipeError):
            self._input.close()
        self.output.close()
        self.process.wait()

    def ending(self) -> Ending:
        """How the current task ended."""
        return Ending(
            task=self.task,
            answer=self.answer,
            exit_code=self.process.returncode or 0,
            timed_out=self._timed_out,
            num_before=self._num_tasks - 1,
            seconds=time.monotonic() - self._begin_s,
        )


# ---------------------------------------------------------------------- in the worker


def serve(work: Callable[[Task, Send], Message]) -> None:
    """Answer tasks until the input ends; the program then exits, also in the middle of a task.

    Args:
        work: Takes a task and a function that sends progress messages; returns the answer.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process handles interrupts
    output = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what a library prints must not mix with the messages
    tasks: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def read_tasks() -> None:
        rest = b""
        with contextlib.suppress(OSError):
            # Not sys.stdin: a thread that holds its lock would abort the end of the program.
            while chunk := os.read(0, 1 << 16):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    tasks.put(line)
        os._exit(0)  # atomic writes keep the files on disk consistent

    def send(message: Message) -> None:
        with contextlib.suppress(BrokenPipeError):
            output.write(json.dumps(message).encode() + b"\n")

    threading.Thread(target=read_tasks, daemon=True).start()
    send(_READY)
    while True:
        send(work(json.loads(tasks.get()), send))
