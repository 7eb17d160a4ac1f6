"""Clients for `benchmarks/serving.py`: requests, checks of the answers, and server processes."""

from __future__ import annotations

import contextlib
import http.client
import json
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MARK = "9b1c6f0e52a94d7e"
# Tokens are rounded to float16, after sums whose order depends on the size of the batch.
TOLERANCE = 1e-3
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 2**20


_PREDICT = """
import json, sys, time
from cign import Learner
learner, files = Learner.load(sys.argv[1]), sys.argv[2:]
list(learner.predict(files, progress=False))
for line in sys.stdin:
    many = files * int(line)
    began = time.process_time()
    found = [one.to_dict() for one in learner.predict(many, top=4, progress=False)]
    used = time.process_time() - began
    print(json.dumps({"cpu_s": used / len(many), "found": found[: len(files)]}), flush=True)
"""


@dataclass(frozen=True)
class Request:
    """A body to send, and how far an answer is from the right one; ``kind`` groups the times."""

    kind: str
    body: bytes
    error: Callable[[int, Any], float]


@dataclass
class Tally:
    """What became of requests."""

    wrong: int = 0
    lost: int = 0
    largest: float = 0.0
    seconds: dict[str, list[float]] = field(default_factory=dict)
    answers: list[Any] = field(default_factory=list)


def form(name: str, data: bytes) -> bytes:
    head = f'--{MARK}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
    return head.encode() + data + f"\r\n--{MARK}--\r\n".encode()


def difference(found: Any, right: dict[str, Any]) -> float:
    """Largest difference of a probability or the unknown score; infinite for another label."""
    if not isinstance(found, list) or len(found) != 1:
        return math.inf
    one = found[0]
    scores = [one["unknown"] - right["unknown"]]
    for name, classes in right["modalities"].items():
        given = {each["label"]: each["probability"] for each in one["modalities"][name]}
        scores += [given.get(each["label"], math.inf) - each["probability"] for each in classes]
    return max(map(abs, scores)) if one["label"] == right["label"] else math.inf


def send(port: int, requests: Sequence[Request], clients: int, *, retry_s: float = 0) -> Tally:
    """Send requests from concurrent clients, each with one in progress."""
    tally, lock, left = Tally(), threading.Lock(), iter(requests)

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=900)
        while True:
            with lock:
                one = next(left, None)
            if one is None:
                connection.close()
                return
            began = time.perf_counter()
            status, answer = _sent(connection, one.body, began + retry_s)
            seconds = time.perf_counter() - began
            with lock:
                if status == 0:
                    tally.lost += 1
                else:
                    error = one.error(status, answer)
                    tally.wrong += error > TOLERANCE
                    tally.largest = max(tally.largest, error)
                tally.seconds.setdefault(one.kind, []).append(seconds)
                tally.answers.append(answer)

    with ThreadPoolExecutor(clients) as pool:
        for done in [pool.submit(client) for _ in range(clients)]:
            done.result()
    return tally


def _sent(connection: http.client.HTTPConnection, body: bytes, until: float) -> tuple[int, Any]:
    headers = {"Content-Type": f"multipart/form-data; boundary={MARK}"}
    while True:
        try:
            connection.request("POST", "/predict?top=4", body, headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        except (OSError, http.client.HTTPException, ValueError):
            connection.close()
            if time.perf_counter() > until:
                return 0, None
            time.sleep(0.1)


@contextlib.contextmanager
def server(model: Path, *options: str, port: int = 0) -> Iterator[tuple[int, int]]:
    """A server; yields its process id and its port."""
    command = [sys.executable, "-m", "cign", "serve", str(model), "--port", str(port), *options]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as started:
        try:
            assert started.stdout is not None
            line = started.stdout.readline()
            yield started.pid, int(line.split()[0].rpartition(":")[2])
        finally:
            with contextlib.suppress(ProcessLookupError):
                started.send_signal(signal.SIGTERM)


def cpu_s(process: int) -> float:
    """CPU seconds of a process so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def memory_mb(process: int) -> float:
    """Resident memory of a process."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * _PAGE_MB


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


class Predict:
    """A process that predicts the clips as `cign predict` does, again and again."""

    def __init__(self, model: Path, clips: list[Path]) -> None:
        command = [sys.executable, "-c", _PREDICT, str(model), *map(str, clips)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __call__(self, repeats: int = 1) -> tuple[list[dict[str, Any]], float]:
        """The predictions of the clips, and CPU seconds per clip."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{repeats}\n")
        self._process.stdin.flush()
        said = json.loads(self._process.stdout.readline())
        return said["found"], said["cpu_s"]

    def __enter__(self) -> Predict:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.communicate()
