"""A bench that is killed takes its processes with it and goes on to the same numbers."""

import os
import signal
import subprocess
import sys
import time

from bench_results import check_same_scores, numbers
from cign.bench import BenchConfig, run_bench
from cign.metrics.predictions import Predictions

LONG, SHORT = "longer-one-t2-m0-o0-s0", "analytic-one-t2-m0-o0-s0"


def wait_for(condition, what):
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


def test_killed_and_resumed_to_the_same_numbers(stores, recipes, tmp_path):
    config = BenchConfig(
        stores=stores[:1],
        methods=("longer", "analytic"),
        tasks=(2,),
        against="analytic",
        recipes=recipes,
    )
    out, run = tmp_path / "killed", tmp_path / "killed" / "runs" / LONG
    command = [
        sys.executable,
        "-m",
        "cign.cli.entry_point",
        "bench",
        str(stores[0]),
        "--out",
        str(out),
    ]
    command += ["--methods", "longer,analytic", "--tasks", "2", "--against", "analytic"]
    command += ["--recipes", str(recipes), "--workers", str(len(os.sched_getaffinity(0)))]
    bench = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        checkpoint = run / "checkpoint.safetensors"  # there once the first of two tasks is done
        wait_for(lambda: checkpoint.exists() or bench.poll() is not None, "no checkpoint")
    finally:
        bench.send_signal(signal.SIGKILL)
        bench.wait()
    assert checkpoint.exists()
    assert not (run / "run.json").exists(), (
        "the run ended before it could be killed: make it longer"
    )
    assert Predictions.load(run / "predictions.parquet").num_tasks_done == 1
    wait_for(lambda: not held(run), "the run's process outlived the bench")

    resumed = run_bench(config, out, num_workers=0)
    unbroken = run_bench(config, tmp_path / "unbroken", num_workers=0)
    assert not resumed.failed
    assert not unbroken.failed
    assert numbers(out) == numbers(tmp_path / "unbroken")
    for name in (LONG, SHORT):
        check_same_scores(out / "runs" / name, tmp_path / "unbroken" / "runs" / name)


def held(folder):
    """Whether a process holds the run folder."""
    import fcntl

    with (folder / ".lock").open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False
