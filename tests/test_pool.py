"""Worker processes: answers, progress, crashes, time limits, and the end of the parent process."""

import os
import signal
import subprocess
import sys
import time

import pytest

from cign.utils.pool import Program, run_tasks

WORKER = """
import os, signal, sys, time
from cign.utils.pool import serve
def work(task, send):
    do, number = task["do"], task["number"]
    if "pid" in task:
        with open(task["pid"], "a") as file:
            file.write(f"{os.getpid()}\\n")
    if do == "print":
        print("a library prints")
        os.write(1, b"and writes")
    elif do == "die" or do == "die once" and not os.path.exists(task["flag"]):
        open(task.get("flag", os.devnull), "w").close()
        os.kill(os.getpid(), signal.SIGSEGV)
    elif do == "leave":
        sys.exit(7)
    elif do == "raise":
        raise ValueError("not one of mine")
    elif do == "hang":
        time.sleep(60)
    elif do == "tell":
        for step in range(3):
            send({"at": [step, "\u00e4\\n"]})
    return {"number": number, "pid": os.getpid(), "threads": os.environ["OMP_NUM_THREADS"]}
serve(work)
"""


def run(kinds, more=(), log=None, **how):
    tasks = [{"do": kind, "number": i, **dict(more)} for i, kind in enumerate(kinds)]
    program = Program(command=(sys.executable, "-c", WORKER), num_threads=3, log=log)
    return run_tasks(tasks, lambda _: program, **{"num_workers": 2, **how})


def by_number(endings):
    found = {ending.task["number"]: ending for ending in endings}
    return [found[number] for number in sorted(found)]


@pytest.mark.parametrize("reuse", [False, True])
def test_a_process_takes_one_task_or_all(reuse):
    endings = by_number(run(["ok"] * 4, num_workers=1, reuse=reuse))
    assert [ending.answer["number"] for ending in endings] == [0, 1, 2, 3]
    assert len({ending.answer["pid"] for ending in endings}) == (1 if reuse else 4)
    assert [ending.num_before for ending in endings] == ([0, 1, 2, 3] if reuse else [0] * 4)
    assert {ending.answer["threads"] for ending in endings} == {"3"}
    for ending in endings:
        with pytest.raises(ProcessLookupError):
            os.kill(ending.answer["pid"], 0)


@pytest.mark.parametrize("reuse", [False, True])
def test_a_crash_fails_only_its_task(reuse):
    kinds = ("ok", "die", "ok", "leave", "raise", "ok", "ok")
    endings = by_number(run(kinds, reuse=reuse))
    assert [ending.answer is None for ending in endings] == [
        kind in ("die", "leave", "raise") for kind in kinds
    ]
    assert (endings[1].signal, endings[1].exit_code) == ("SIGSEGV", -signal.SIGSEGV)
    assert (endings[3].signal, endings[3].exit_code) == ("", 7)
    assert (endings[4].signal, endings[4].exit_code) == ("", 1)


def test_a_crash_is_tried_again_as_often_as_asked(tmp_path):
    (once,) = run(["die once"], {"flag": str(tmp_path / "flag")}, num_retries=1)
    assert once.answer["number"] == 0
    pids = tmp_path / "pids"
    (never,) = run(["die"], {"pid": str(pids)}, num_retries=2)
    assert never.answer is None
    assert len(set(pids.read_text().split())) == 3


def test_a_task_over_its_time_is_killed_and_not_tried_again(tmp_path):
    pids = tmp_path / "pids"
    begin = time.monotonic()
    late, good = by_number(
        run(["hang", "ok"], {"pid": str(pids)}, num_workers=1, timeout_s=4.0, num_retries=3)
    )
    assert time.monotonic() - begin < 30
    assert (late.answer, late.timed_out, late.signal) == (None, True, "SIGKILL")
    assert late.seconds >= 4
    assert (good.answer["number"], good.timed_out) == (1, False)
    assert len(pids.read_text().split()) == 2


def test_progress_comes_with_its_task_and_prints_go_to_the_log(tmp_path):
    seen = []
    log = tmp_path / "log"
    (told,) = run(["tell"], moved=lambda task, at: seen.append((task["do"], *at)))
    assert told.answer["number"] == 0
    assert seen == [("tell", step, "\u00e4\n") for step in range(3)]
    (printed,) = run(["print"], log=log)
    assert printed.answer["number"] == 0
    assert b"and writes" in log.read_bytes()


def test_a_process_does_not_outlive_the_one_that_started_it(tmp_path):
    """Also in the middle of a task, and where the parent is killed."""
    pids = tmp_path / "pids"
    script = (
        "import sys\nfrom cign.utils.pool import Program, run_tasks\n"
        f"program = Program(command=(sys.executable, '-c', {WORKER!r}), num_threads=1)\n"
        f"task = {{'do': 'hang', 'number': 0, 'pid': {str(pids)!r}}}\n"
        "list(run_tasks([task], lambda _: program, num_workers=1))\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script])
    deadline = time.monotonic() + 60
    while not (pids.exists() and pids.read_text().strip()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    child = int(pids.read_text())
    while time.monotonic() < deadline:
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail("the worker is still alive")
