"""Several processes come to what one comes to, and stop together."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import cign
import shared
from cign.errors import InputError
from cign.methods import METHODS
from cign.methods.analytic import Analytic
from cign.training.distributed.comm import Comm
from cign.training.distributed.processes import joined
from cign.training.distributed.sums import partial_sums
from cign.training.place import Place
from refusals import input_error
from toy import toy_loop

ROOT = Path(cign.__file__).parents[1]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node"]
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join([str(ROOT), str(Path(__file__).parent)]),
    "OMP_NUM_THREADS": "1",
}
QUICK = [
    f"{name}{stream}"
    for name in ("finetune", "cign_analytic")
    for stream in ("", "@blurry", "@online")
]


def launched(number, folder, names, *, stopped=False):
    given = [f"{name}:stopped" for name in names] if stopped else names
    command = [*TORCHRUN, str(number), str(Path(shared.__file__)), str(folder), *given]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    if stopped:
        return {}
    return {name: json.loads((folder / f"{name}.json").read_text()) for name in names}


def check(name, found):
    loop = shared.make(name)
    loop.run()
    alone = json.loads(json.dumps(shared.results(loop)))
    assert found["memory"] == alone["memory"]
    assert found["curve"] == alone["curve"]
    steps = sum(1 for _ in alone["losses"])
    assert len(found["losses"]) == steps
    for ours, theirs in zip(found["losses"], alone["losses"], strict=True):
        assert ours.keys() == theirs.keys()
        for key, value in theirs.items():
            assert ours[key] == (
                value if isinstance(value, str) else pytest.approx(value, abs=1e-5)
            )
    for ours, theirs in zip(found["scores"], alone["scores"], strict=True):
        for modality, scores in theirs.items():
            np.testing.assert_allclose(ours[modality], scores, rtol=0, atol=1e-5)
            assert (np.argmax(ours[modality], 1) == np.argmax(scores, 1)).all()


LEAVING = """
import os
import torch
from cign.training.distributed.processes import joined
with joined() as comm:
    weight = torch.nn.Parameter(torch.ones(3))
    weight.grad = torch.ones(3)
    comm.sum_([weight.grad])
    torch.optim.Adam([weight]).step()
folder = "/proc/self/task"
names = [open(f"{folder}/{task}/comm").read().strip() for task in os.listdir(folder)]
assert not [name for name in names if "gloo" in name], names
"""


def test_no_thread_of_the_group_is_left_when_it_is_over(tmp_path):
    """One that is may abort the process at its end, after all is done."""
    (tmp_path / "leaving.py").write_text(LEAVING)
    command = [*TORCHRUN, "2", str(tmp_path / "leaving.py")]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]


def test_two_processes_come_to_what_one_does(tmp_path):
    for name, found in launched(2, tmp_path, QUICK).items():
        check(name, found)


@pytest.mark.slow
@pytest.mark.parametrize("number", [2, 3])
def test_every_method_comes_to_what_one_process_does(number, tmp_path):
    for name, found in launched(number, tmp_path, list(shared.OPTIONS)).items():
        check(name, found)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cign_replay", "cign_analytic", "analytic"])
def test_a_checkpoint_of_two_within_a_task_is_gone_on_with_by_one(name, tmp_path):
    launched(2, tmp_path, [name], stopped=True)
    loop = shared.make(name, tmp_path / name)
    loop.resume()
    assert loop.place == Place(0, 0, 0, 2)
    loop.run()
    whole = shared.make(name)
    whole.run()
    for ours, theirs in zip(loop.losses, whole.losses, strict=True):
        for key, value in theirs.items():
            wanted = value if isinstance(value, str) else pytest.approx(value, abs=1e-5)
            assert ours[key] == wanted
    ours, theirs = loop.predictions.scores[-1], whole.predictions.scores[-1]
    for modality, scores in theirs.items():
        np.testing.assert_allclose(ours[modality], scores, rtol=0, atol=1e-5)


def test_twenty_steps_and_more_are_compared():
    """The bound of 1e-5 is about losses after 20 steps; the quick method makes at least so many."""
    loop = shared.make("finetune")
    phase = loop.method.phases(loop._task_data(0))[0]
    assert phase.num_epochs * phase.steps_per_epoch >= 20


# ---------------------------------------------------------------- refused, with nobody to wait for


class Sharing(Comm):
    """Of one process, and not alone: every line that shares is run."""

    @property
    def is_alone(self):
        return False

    def _exchange(self, tensors, how):
        for _ in tensors:
            pass


def shared_toy(name, **kwargs):
    """A loop that shares its batches as several do, with nobody to exchange anything with."""
    return toy_loop(name, memory="12", comm=Sharing(), **kwargs)


def test_a_loss_that_needs_the_whole_batch_is_refused():
    with input_error("unsupported", "av_cil"):
        shared_toy("av_cil")
    with input_error("unsupported", "with negatives new, old and new clips count"):
        shared_toy("cign", options={"negatives": "new", "depth": 1})


class MeansOfClasses(Analytic):
    """Somebody's closed form, which counts clips in a buffer of its own."""

    def absorb(self, batch):
        super().absorb(batch)
        if "seen" not in dict(self.named_buffers()):
            self.register_buffer("seen", torch.zeros(1))
        self.seen += len(batch.targets)


def test_sums_that_would_not_be_added_up_are_refused(monkeypatch):
    monkeypatch.setitem(METHODS, "analytic", MeansOfClasses)
    options = {"width": 20, "batch_size": 4}
    with input_error("plugin-contract", "seen"):
        shared_toy("analytic", options=options).run()
    sums = MeansOfClasses.sums_over_clips | {"seen"}
    monkeypatch.setattr(MeansOfClasses, "sums_over_clips", sums, raising=False)
    loop = shared_toy("analytic", options=options)
    loop.run()
    assert loop.method.seen.item() == len(loop.train)
    assert any(buffer is loop.method.seen for buffer in parts_of(loop))


def parts_of(loop):
    return partial_sums(loop.method, {}, absorbs=True)


def test_a_method_says_itself_that_it_needs_the_whole_batch(monkeypatch):
    why = "its losses rank all clips of a batch"
    monkeypatch.setattr(METHODS["finetune"], "needs_whole_batch", why, raising=False)
    with pytest.raises(InputError, match=f"finetune cannot be trained .*{why}"):
        shared_toy("finetune")


def test_the_shared_loop_of_one_process_takes_the_same_bits(tmp_path):
    """With nobody to share with, every line of the shared loop is the plain loop's."""
    options = shared.OPTIONS["icarl"]
    plain = toy_loop("icarl", options=options, memory="12", folder=tmp_path)
    alone = shared_toy("icarl", options=options)
    for loop in (plain, alone):
        loop.run()
    assert plain.losses == alone.losses
    for one, other in zip(plain.predictions.scores, alone.predictions.scores, strict=True):
        for modality, scores in one.items():
            np.testing.assert_array_equal(other[modality], scores)
    for key, value in plain.method.state_dict().items():
        torch.testing.assert_close(alone.method.state_dict()[key], value, rtol=0, atol=0)


def test_the_number_of_processes_is_asserted():
    with input_error("conflicting-options", "--processes", "2", "1", "runs", "torchrun"):
        joined(2).__enter__()
    with input_error("conflicting-options", "--peer-timeout"):
        joined(None, 5.0).__enter__()
    with joined(1) as comm:
        assert comm.is_alone


def test_what_is_asserted_on_the_command_line(cign, tiny, tmp_path):
    code, out, err = cign(
        "train", tiny[1], "--out", tmp_path / "run", "--tasks", "2", "--processes", "2"
    )
    assert (code, out) == (2, "")
    assert err.startswith("cign: --processes is 2, but 1 runs: start them with")
    assert not (tmp_path / "run").exists()


# ------------------------------------------------------------------------------- as a command

RECIPE = "method: finetune\noptions: {training: {num_epochs: %d, min_steps: 0, batch_size: 7}}\n"


def command(store, run, *more, number=2, epochs=3):
    recipe = run.parent / f"recipe-{epochs}.yaml"
    recipe.write_text(RECIPE % epochs)
    train = [
        "-m",
        "cign.cli.entry_point",
        "train",
        store,
        "--out",
        run,
        "--recipe",
        recipe,
        "--tasks",
        "2",
    ]
    start = [*TORCHRUN, str(number)] if number > 1 else [sys.executable]
    return [str(part) for part in (*start, *train, *more)]


def begin(*args, **kwargs):
    return subprocess.Popen(
        command(*args, **kwargs),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env=ENVIRONMENT,
    )


def sentences(text):
    return [line for line in text.splitlines() if line.startswith("cign: ")]


def children(pid):
    """Processes that a process has started, in the order of their ranks."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return sorted((int(child) for child in found), key=lambda child: rank_of(child) or 0)


def rank_of(pid):
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return None
    return next((int(x[5:]) for x in environment if x.startswith(b"RANK=")), None)


def wait_for(condition, what, limit_s=120):
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


@pytest.mark.slow
def test_train_by_two_processes_writes_one_run(tiny, tmp_path):
    environment = {"env": ENVIRONMENT, "capture_output": True, "text": True, "timeout": 300}
    alone = subprocess.run(command(tiny[1], tmp_path / "one", number=1), **environment)
    both = subprocess.run(command(tiny[1], tmp_path / "two", "--processes", "2"), **environment)
    assert (alone.returncode, both.returncode) == (0, 0), both.stderr[-2000:]
    one, two = (json.loads((tmp_path / n / "metrics.json").read_text()) for n in ("one", "two"))
    assert sentences(both.stderr)[0] == "cign: 2 processes share every batch"
    assert len([line for line in both.stderr.splitlines() if "task 2 test" in line]) == 1
    assert both.stdout.count("audio-visual") == 1
    assert two["modalities"].keys() == one["modalities"].keys()
    for modality, numbers in one["modalities"].items():
        assert two["modalities"][modality]["last"] == pytest.approx(numbers["last"])
    folders = [sorted(p.name for p in (tmp_path / n).iterdir()) for n in ("one", "two")]
    assert folders[0] == folders[1]


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_one_is_killed_and_the_others_stop_with_a_sentence(victim, tiny, tmp_path):
    run = tmp_path / "run"
    launcher = begin(tiny[1], run, epochs=2000)
    wait_for(lambda: (run / "metrics.json").exists() or launcher.poll() is not None, "not begun")
    time.sleep(1.0)
    os.kill(children(launcher.pid)[victim], signal.SIGKILL)
    began = time.monotonic()
    _, err = launcher.communicate(timeout=120)
    assert time.monotonic() - began < 60
    assert launcher.returncode != 0
    (said,) = sentences(err.replace("cign: 2 processes share every batch\n", ""))
    assert "run the same command" in said
    assert "--resume" in said


@pytest.mark.slow
def test_one_hangs_and_the_others_stop_after_the_timeout(tiny, tmp_path):
    run = tmp_path / "run"
    launcher = begin(tiny[1], run, "--peer-timeout", "20", epochs=2000)
    wait_for(lambda: (run / "metrics.json").exists() or launcher.poll() is not None, "not begun")
    time.sleep(1.0)
    first, second = children(launcher.pid)
    os.kill(second, signal.SIGSTOP)
    wait_for(lambda: rank_of(first) is None or launcher.poll() is not None, "no end")
    os.kill(second, signal.SIGCONT)
    _, err = launcher.communicate(timeout=120)
    assert launcher.returncode != 0
    assert any("collective operation failed or timed out" in line for line in sentences(err))


@pytest.mark.slow
def test_killed_together_and_resumed_by_another_number(tiny, tmp_path):
    """A checkpoint within a task holds what all processes have; any number goes on with it."""
    run, whole = tmp_path / "run", tmp_path / "whole"
    launcher = begin(tiny[1], run, epochs=150)
    wait_for(lambda: (run / "checkpoint.safetensors").exists(), "no checkpoint")
    for child in children(launcher.pid):
        os.kill(child, signal.SIGKILL)
    launcher.communicate(timeout=120)
    assert json.loads((run / "metrics.json").read_text())["status"] == "running"
    for number, folder, more in ((1, run, ["--resume"]), (1, whole, [])):
        args = command(tiny[1], folder, *more, number=number, epochs=150)
        subprocess.run(args, check=True, env=ENVIRONMENT, timeout=300, capture_output=True)
    one, two = (json.loads((f / "metrics.json").read_text()) for f in (run, whole))
    for ours, theirs in zip(one["losses"], two["losses"], strict=True):
        assert ours["audio"] == pytest.approx(theirs["audio"], abs=1e-4)
