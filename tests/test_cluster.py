"""A Ray cluster of two workers gives the same bytes, tables and answers, though one is killed."""

import os
import platform
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from bench_results import check_same_scores, numbers
from cign.backbones.registry import load_backbone
from cign.bench import BenchConfig, run_bench
from cign.data.prepare.cluster_workers import _check_access
from cign.data.prepare.pipeline import prepare
from cign.errors import RunError
from cign.learner import Learner
from cign.utils.cluster import _result, call_all, check_engine, connected
from cign.vocabulary import EVALUATION_BATCH
from labelling.made import features, parts_of, store_of
from refusals import input_error, run_error

QUICK = "{num_epochs: 1, min_steps: 0, batch_size: 8}"


@pytest.fixture(scope="module")
def ray():
    """A cluster of two processors on this machine."""
    module = pytest.importorskip("ray", reason="Ray is in the extra `cluster`")
    module.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield module
    module.shutdown()


def workers(function):
    """Processes of the cluster that are at work on a function."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
            owner = entry.stat().st_uid
        except OSError:
            continue
        if command.startswith(f"ray::{function}".encode()) and owner == os.getuid():
            found.append(int(entry.name))
    return found


class Killer(threading.Thread):
    """Kills the first process that works on a function, once a condition holds."""

    def __init__(self, function, condition=lambda: True):
        super().__init__(daemon=True)
        self.function, self.condition, self.killed = function, condition, None

    def run(self):
        deadline = time.monotonic() + 600
        while self.killed is None and time.monotonic() < deadline:
            found = workers(self.function)
            if found and self.condition():
                os.kill(found[0], signal.SIGKILL)
                self.killed = found[0]
            time.sleep(0.05)


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


@pytest.mark.slow
def test_a_store_of_the_cluster_has_the_same_bytes_though_a_worker_is_killed(ray, tiny, tmp_path):
    clips = tmp_path / "clips"
    shutil.copytree(tiny[0], clips)
    broken = min(clips.rglob("*.mp4"))
    broken.write_bytes(b"no clip at all")
    backbone = load_backbone("small-random")
    local = prepare(clips, tmp_path / "local", backbone=backbone, num_workers=1)
    killer = Killer("decode_chunk")
    killer.start()
    there = prepare(clips, tmp_path / "there", backbone=backbone, engine="ray")
    assert killer.killed is not None
    assert local.conditions["unreadable"] == 1
    assert there.problems == local.problems
    ours, theirs = contents(tmp_path / "there"), contents(tmp_path / "local")
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if ours[name] != theirs[name]] == []


@pytest.mark.slow
def test_a_bench_on_the_cluster_gives_the_same_table_though_a_worker_is_killed(ray, tiny, tmp_path):
    recipes = tmp_path / "recipes"
    recipes.mkdir()
    long = QUICK.replace("num_epochs: 1", "num_epochs: 100")
    for name, training in (("longer", long), ("diverging", QUICK[:-1] + ", learning_rate: 1e37}")):
        text = f"method: finetune\noptions:\n  training: {training}\n"
        (recipes / f"{name}.yaml").write_text(text)
    config = BenchConfig(
        stores=(tiny[1],), methods=("longer", "diverging"), tasks=(2,), recipes=recipes
    )
    run = tmp_path / "there" / "runs" / "longer-store-t2-m0-o0-s0"
    checkpoint = run / "checkpoint.safetensors"  # once the first of two tasks is done
    killer = Killer("make_job", checkpoint.exists)
    killer.start()
    moved = []
    there = run_bench(config, tmp_path / "there", engine="ray", num_workers=1, view=View(moved))
    assert killer.killed is not None
    assert {name for name, *_ in moved} >= {run.name}
    here = run_bench(config, tmp_path / "here", num_workers=0)
    assert there.failed == here.failed
    assert list(here.failed) == ["diverging-store-t2-m0-o0-s0"]
    assert numbers(tmp_path / "there") == numbers(tmp_path / "here")
    check_same_scores(run, tmp_path / "here" / "runs" / run.name)


class View:
    def __init__(self, moved):
        self._moved = moved

    def begin(self, num_runs, num_done):
        pass

    def moved(self, *event):
        self._moved.append(event)

    def ended(self, name, seconds, error):
        assert seconds > 0

    def stop(self):
        pass


@pytest.mark.slow
def test_calls_come_with_their_numbers_and_a_failing_one_is_one_sentence(ray):
    # Functions inside this one travel by value; the workers do not have this file.
    def add(a, b):
        return a + b

    def fails(text):
        raise RunError("disk-full", text)

    def dies():
        os.kill(os.getpid(), signal.SIGKILL)

    calls = [(1, 2), (3, 4), (5, 6)]
    assert sorted(call_all(ray, add, calls, limit=2)) == [
        (number, platform.node(), a + b) for number, (a, b) in enumerate(calls)
    ]
    with run_error("disk-full", "no room on this machine"):
        list(call_all(ray, fails, [("no room on this machine",)], limit=1))
    with run_error("process-failed", "after 4 attempts"):
        list(call_all(ray, dies, [()], limit=1))


@pytest.mark.slow
def test_proposals_and_audits_of_the_cluster_are_those_of_one_machine(ray, tmp_path, monkeypatch):
    """A worker that runs a part is killed in both."""
    monkeypatch.setattr("cign.labelling.pool_parts.FIRST_PART", 2 * EVALUATION_BATCH)
    monkeypatch.setattr("cign.labelling.pool_parts.SECOND_PART", EVALUATION_BATCH)
    monkeypatch.setattr("cign.methods.loo_estimate.BATCH_BYTES", 2**22)
    learned = features(600, 0)
    learned["source"] = np.array([f"recording {number % 200}" for number in range(600)])
    store = store_of(tmp_path / "learned", learned)
    learner = Learner("cign_analytic", options={"width": 400, "ridge": [5.0]})
    learner.learn(store, tasks=2, progress=False)
    pools = parts_of(tmp_path / "pools", features(3000, 1), [1100])
    for call, how in (
        (learner.next, {"clips": pools, "number": 30, "first_pass": 1500}),
        (learner.audit, {"clips": store}),
    ):
        here = call(**how, progress=False).to_dict()
        killer = Killer("run_part")
        killer.start()
        there = call(**how, engine="ray", progress=False).to_dict()
        killer.join(10)
        assert killer.killed is not None
        assert there == here


@pytest.mark.slow
def test_the_caller_s_connection_is_used(ray):
    with connected() as one:
        assert one.is_initialized()
    assert ray.is_initialized()


# ------------------------------------------------------------------------------- without Ray


def test_engines_are_checked_before_anything_is_done(cign, tiny, tmp_path, monkeypatch):
    with input_error("unknown-name", "engine", "'spark'", "local, ray"):
        check_engine("spark", None)
    check_engine("local", 0)
    monkeypatch.setitem(sys.modules, "ray", None)
    for command in (
        ("next", "model", tiny[1], "--number", 3),
        ("audit", "model", tiny[1]),
        ("prepare", tiny[0], tmp_path / "store", "--engine", "ray"),
        ("bench", tiny[1], "--out", tmp_path / "bench", "--methods", "analytic", "--tasks", "2"),
    ):
        code, out, err = cign(*command, *(() if "--engine" in command else ("--engine", "ray")))
        assert (code, out) == (2, "")
        assert err == (
            "cign: --engine ray needs Ray: `pip install 'ray>=2.40'`, or use --engine local\n"
        )
    assert not list(tmp_path.iterdir())


def test_no_workers_on_a_cluster_are_refused():
    pytest.importorskip("ray")
    with input_error("conflicting-options", "--workers", "--engine ray"):
        check_engine("ray", 0)


def test_a_machine_without_the_media_is_not_taken_for_missing_clips(tmp_path):
    there = tmp_path / "clip.mp4"
    answer = {"row": 0, "conditions": [["missing", "the file does not exist"]]}
    _check_access({"path": str(there)}, answer, "node7")
    there.touch()
    with run_error("process-failed", "node7", "clip.mp4"):
        _check_access({"path": str(there)}, answer, "node7")


def test_an_error_on_another_machine_keeps_its_code():
    class TaskError(Exception):
        def __init__(self, cause):
            super().__init__(cause)
            self.cause = cause

    def fake_ray(cause):
        def get(_):
            raise TaskError(cause)

        return SimpleNamespace(get=get, exceptions=SimpleNamespace(RayTaskError=TaskError))

    with run_error("disk-full", "no room"):
        _result(fake_ray(RunError("disk-full", "no room")), None)
    with run_error("process-failed", "OSError: broken pipe"):
        _result(fake_ray(OSError("broken\npipe")), None)


def test_what_ray_prints_does_not_mix_with_results(monkeypatch, capsys):
    def prints(*_, **__):
        print("a warning")

    fake = SimpleNamespace(is_initialized=lambda: False, init=prints, shutdown=prints)
    monkeypatch.setattr("cign.utils.cluster.load_ray", lambda: fake)
    with connected():
        prints()
    print("the result")
    assert capsys.readouterr() == ("the result\n", 3 * "a warning\n")
