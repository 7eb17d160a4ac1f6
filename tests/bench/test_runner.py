"""Processes that fail, die or hang cost their own run only."""

import os
import signal
import sys
import time

import pytest

from cign.bench.runner import NoView, run_all

STUB = """
import json, os, signal, sys, time
job = json.loads(sys.stdin.readline())
def tell(event):
    print(json.dumps(event), flush=True)
open(job["folder"] + "/pid", "w").write(str(os.getpid()))
tell({"at": ["learning", 1, 2]})
if job["do"] == "fail":
    tell({"failed": "it diverged", "traceback": "here"})
    sys.exit(1)
elif job["do"] == "die":
    os.kill(os.getpid(), signal.SIGKILL)
elif job["do"] == "leave":
    print("some library is unhappy", file=sys.stderr)
    sys.exit(7)
elif job["do"] == "hang":
    time.sleep(60)
time.sleep(job.get("seconds", 0))
tell({"done": True})
"""


class Seen(NoView):
    def __init__(self):
        self.events = []

    def moved(self, name, stage, done, total):
        self.events.append((name, stage, done, total))

    def ended(self, name, seconds, error):
        self.events.append((name, error))


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "stub.py"
    path.write_text(STUB)
    return (sys.executable, str(path))


def jobs(tmp_path, *kinds, **more):
    return [
        {"name": f"run {i}", "folder": str(tmp_path / f"{i}"), "do": kind, "threads": 1, **more}
        for i, kind in enumerate(kinds)
    ]


def test_each_run_ends_in_its_own_way(tmp_path, program):
    view = Seen()
    kinds = ("ok", "fail", "die", "leave", "ok")
    outcomes = {o.name: o for o in run_all(jobs(tmp_path, *kinds), 2, view, program)}
    assert len(outcomes) == 5
    assert outcomes["run 0"].error is None
    assert outcomes["run 4"].error is None
    assert (outcomes["run 1"].error, outcomes["run 1"].traceback) == ("it diverged", "here")
    assert "killed by SIGKILL; is there enough memory?" in outcomes["run 2"].error
    assert outcomes["run 3"].error == "its process ended with exit code 7"
    assert "unhappy" in (tmp_path / "3" / "worker.log").read_text()
    assert ("run 0", "learning", 1, 2) in view.events
    assert ("run 1", "it diverged") in view.events


def test_no_more_processes_than_workers(tmp_path, program):
    begin = time.monotonic()
    list(run_all(jobs(tmp_path, *["ok"] * 3, seconds=0.3), 1, NoView(), program))
    assert time.monotonic() - begin > 0.9


def test_leaving_early_ends_the_processes(tmp_path, program):
    running = run_all(jobs(tmp_path, "ok", "hang", "hang"), 3, NoView(), program)
    assert next(running).name == "run 0"
    deadline = time.monotonic() + 30
    while not (tmp_path / "2" / "pid").exists() or not (tmp_path / "1" / "pid").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    running.close()
    for number in (1, 2):
        pid = int((tmp_path / str(number) / "pid").read_text() or 0)
        if pid:
            with pytest.raises(ProcessLookupError):
                os.kill(pid, signal.SIG_DFL)


def test_a_program_that_does_not_exist_is_no_hang(tmp_path):
    with pytest.raises(FileNotFoundError):
        list(run_all(jobs(tmp_path, "ok"), 1, NoView(), (str(tmp_path / "none"),)))
