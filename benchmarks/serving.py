"""Load, correctness and failures of `cign serve`; writes benchmarks/results/serving.md.

    python benchmarks/serving.py [--requests 10000] [--work work/serving]

Renders a small corpus, trains a model, and then: sends requests from 8 clients in parts of 100, of
which 8 are broken or oversized; changes the model while clients ask; kills the server
while clients ask. Each part is stored in the work folder, so that an interrupted run continues.
Server and clients share the machine. CPU seconds, not seconds, are compared with `cign predict`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from serving_load import (
    TOLERANCE,
    Predict,
    Request,
    Tally,
    cpu_s,
    difference,
    form,
    free_port,
    memory_mb,
    send,
    server,
)

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks/results/serving.md"
COMMAND = "OMP_NUM_THREADS=1 taskset -c 1 python benchmarks/serving.py"
CLIENTS, PART, TIMED = 8, 100, 80
NUM_BAD = 8
MAX_UPLOAD = "1MB"
CHANGES, RETRIED = 3, 100


def cign(*arguments: Any) -> None:
    command = [sys.executable, "-m", "cign", *map(str, arguments)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def prepared(work: Path) -> tuple[Path, list[Path]]:
    """The model and the test clips."""
    model, clips = work / "model", work / "clips"
    if not model.exists():
        corpus = ("--classes", 4, "--train", 6, "--val", 1, "--test", 4, "--seconds", 3)
        cign("synth", clips, *corpus, "--size", 96)
        cign("prepare", clips, work / "store", "--backbone", "small", "--workers", 0)
        cign("train", work / "store", "--out", work / "run")
        shutil.copytree(work / "run/model", work / "copy")
        (work / "copy").rename(model)
    return model, sorted((clips / "test").rglob("*.mp4"))


def good(clips: list[Path], right: list[dict[str, Any]], number: int) -> list[Request]:
    bodies = [form(clip.name, clip.read_bytes()) for clip in clips]
    return [
        Request(
            "good",
            bodies[i % len(clips)],
            lambda status, answer, i=i: difference(answer, right[i % len(clips)]),
        )
        for i in range(number)
    ]


def bad(clips: list[Path], number: int) -> list[Request]:
    """Broken files and, one in three, bodies above the limit."""
    cut = clips[0].read_bytes()[:300]  # before the index of the container

    def refused(wanted: int, code: str) -> Any:
        right = (wanted, code)
        return lambda status, answer: 0.0 if (status, answer.get("code")) == right else math.inf

    large = Request("oversized", form("a.mp4", bytes(2 * 2**20)), refused(413, "too-large"))
    broken = Request("broken", form("b.mp4", cut), refused(422, "file-unreadable"))
    return [large if i % 3 == 0 else broken for i in range(number)]


def stored(work: Path, name: str, make: Any) -> Any:
    """A result of an earlier run of the script, or a new one."""
    path = work / f"{name}.json"
    if not path.exists():
        path.write_text(json.dumps(make()))
        print(f"{name}: {path.read_text()[:200]}", flush=True)
    return json.loads(path.read_text())


def load(work: Path, model: Path, clips: list[Path], requests: int) -> list[dict[str, Any]]:
    """All parts; one server answers those that are missing."""
    numbers = range(requests // PART)
    if all((work / f"part{number}.json").exists() for number in numbers):
        return [stored(work, f"part{number}", None) for number in numbers]
    with (
        Predict(model, clips) as predict,
        server(model, "--max-upload", MAX_UPLOAD, "--timeout", "600") as (process, port),
    ):
        right, _ = predict()
        send(port, good(clips, right, 16), CLIENTS)  # caches of allocators

        def part() -> dict[str, Any]:
            before = cpu_s(process)
            timed = send(port, good(clips, right, TIMED), CLIENTS)
            used = cpu_s(process) - before
            _, alone_s = predict(TIMED // len(clips))  # in turns: both meet the same machine
            mixed = [*good(clips, right, PART - TIMED - NUM_BAD), *bad(clips, NUM_BAD)]
            random.Random(0).shuffle(mixed)
            others = send(port, mixed, CLIENTS)
            return {
                "cpu_s": used / TIMED,
                "alone_s": alone_s,
                "wrong": timed.wrong + others.wrong,
                "lost": timed.lost + others.lost,
                "largest": max(timed.largest, others.largest),
                "seconds": timed.seconds["good"],
                "memory_mb": memory_mb(process),
                "process": process,
            }

        return [stored(work, f"part{number}", part) for number in numbers]


def updates(work: Path, model: Path, clips: list[Path]) -> dict[str, Any]:
    """Classes are added while clients ask; every answer is compared with the version it names."""
    place = work / "changed"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(model, place)
    found: list[Tally] = []
    done = threading.Event()
    body = Request(
        "good",
        form("a.mp4", clips[0].read_bytes()),
        lambda status, _: 0.0 if status == 200 else math.inf,
    )
    with server(place, "--timeout", "600") as (_, port):

        def ask() -> None:
            while not done.is_set():
                found.append(send(port, [body] * 20, 4))

        thread = threading.Thread(target=ask)
        thread.start()
        for number in range(CHANGES):
            folder = work / f"new{number}" / f"class {number}"
            folder.mkdir(parents=True, exist_ok=True)
            for clip in clips[number * 3 : number * 3 + 3]:
                shutil.copy(clip, folder)
            cign("add", place, folder.parent, "--workers", 0)
            time.sleep(1.5)
        done.set()
        thread.join()
    answers = [one for tally in found for one in tally.answers if one]
    versions = sorted({one[0]["model_version"] for one in answers})
    wrong = sum(tally.wrong for tally in found)
    for version in versions:
        with Predict(place / "versions" / str(version), clips[:1]) as predict:
            ((right,), _) = predict()
        mine = [one for one in answers if one[0]["model_version"] == version]
        wrong += sum(difference(one, right) > TOLERANCE for one in mine)
    return {
        "answers": len(answers),
        "versions": versions,
        "wrong": wrong,
        "lost": sum(tally.lost for tally in found),
    }


def killed(model: Path, clips: list[Path]) -> dict[str, Any]:
    """The server is killed while clients ask, and started again; clients repeat their requests."""
    with Predict(model, clips) as predict:
        right, _ = predict()
    port = free_port()
    requests = good(clips, right, RETRIED)
    result: list[Tally] = []
    with server(model, "--timeout", "600", port=port) as (process, _):
        thread = threading.Thread(
            target=lambda: result.append(send(port, requests, 4, retry_s=600.0))
        )
        thread.start()
        while cpu_s(process) < 1:
            time.sleep(0.05)
        time.sleep(1)
        os.kill(process, signal.SIGKILL)
    with server(model, "--timeout", "600", port=port):
        thread.join()
    (tally,) = result
    return {"requests": RETRIED, "wrong": tally.wrong, "lost": tally.lost}


def report(parts: list[dict[str, Any]], changes: Any, kills: Any) -> str:
    """The table; what has not been measured has no row, and is named below it."""
    seconds = sorted(one for part in parts for one in part["seconds"])
    median, p95 = statistics.median(seconds), seconds[int(0.95 * len(seconds))]
    served_s = statistics.fmean(part["cpu_s"] for part in parts)
    alone_s = statistics.fmean(part["alone_s"] for part in parts)
    last = [part["memory_mb"] for part in parts if part["process"] == parts[-1]["process"]]
    largest = max(part["largest"] for part in parts)
    rows = [
        ("requests, 8 % of them broken or oversized", f"{len(parts) * PART:,}", ""),
        ("wrong answers", sum(part["wrong"] for part in parts), "0"),
        ("lost answers", sum(part["lost"] for part in parts), "0"),
        ("largest difference of a probability", f"{largest:.1g}", "0.001"),
        ("answers per CPU second, `cign predict`", f"{1 / alone_s:.1f}", ""),
        ("answers per CPU second, server", f"{1 / served_s:.1f}", ""),
        ("ratio", f"{alone_s / served_s:.2f}", "at least 0.8"),
        ("median seconds of a request that is in order", f"{median:.3f}", ""),
        ("95th percentile relative to the median", f"{p95 / median:.2f}", "below 3"),
        (
            f"memory of the server after the first and the last of {len(last)} parts",
            f"{last[0]:.0f} MB, {last[-1]:.0f} MB",
            "constant",
        ),
    ]
    if changes is not None:
        what = f"answers during {CHANGES} additions, by versions {changes['versions']}"
        found = f"{changes['answers']:,}: {changes['wrong']} wrong, {changes['lost']} lost"
        rows.append((what, found, "0, 0"))
    if kills is not None:
        what = "requests during SIGKILL and a new start, which clients repeat"
        found = f"{kills['requests']}: {kills['wrong']} wrong, {kills['lost']} lost"
        rows.append((what, found, "0, 0"))
    missing = [
        name for name, one in (("changes of the model", changes), ("SIGKILL", kills)) if one is None
    ]
    note = f"\nNot measured yet: {', '.join(missing)}.\n" if missing else ""
    table = "\n".join(f"| {' | '.join(map(str, row))} |" for row in rows)
    return (
        f"`{COMMAND} --requests {len(parts) * PART}`: {CLIENTS} clients with one request each, "
        "clips of 3 s at 96 pixels, encoders `small`, one thread of torch. An answer is wrong if a "
        "probability differs from that of `cign predict` by more than 0.001. "
        f"Server, clients and `cign predict`, which is measured in turns, share one core; load "
        f"average of the machine at the end: {os.getloadavg()[1]:.0f}.\n\n"
        f"| what | measured | bound |\n| --- | --- | --- |\n{table}\n{note}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--work", type=Path, default=ROOT / "work/serving")
    parser.add_argument("--report", action="store_true", help="only write what is stored")
    options = parser.parse_args()
    work = options.work
    if not options.report:
        work.mkdir(parents=True, exist_ok=True)
        model, clips = prepared(work)
        load(work, model, clips, options.requests)
        stored(work, "updates", lambda: updates(work, model, clips))
        stored(work, "killed", lambda: killed(model, clips))
    paths = [work / f"part{number}.json" for number in range(options.requests // PART)]
    parts = [json.loads(path.read_text()) for path in paths if path.exists()]
    others = [work / "updates.json", work / "killed.json"]
    changes, kills = (json.loads(one.read_text()) if one.exists() else None for one in others)
    RESULTS.write_text(report(parts, changes, kills))
    print(RESULTS.read_text())


if __name__ == "__main__":
    main()
