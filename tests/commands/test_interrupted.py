"""Ctrl-C: the step under way is saved, the message says what is kept, and the run goes on there."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest
import torch
import yaml

from cign.data.batches import cut
from cign.errors import Interrupted
from cign.metrics.predictions import Predictions
from cign.training.interrupts import Interrupts
from cign.utils.progress import Silent
from toy import FAST, toy_loop

# Of a task of the toy problem.
_LOOP = toy_loop("finetune", options=FAST)
NUM_STEPS = 2 * len(cut(_LOOP.clips.of_task(_LOOP.train, 0), 8))
NUM_TEST = len(_LOOP.test)
LONG = {"num_epochs": 2000, "min_steps": 0, "batch_size": 4}


def interrupted(command, run, begun):
    """Press Ctrl-C once a process is in the middle of training; gives its exit code and words."""
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not begun() and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(1.0)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert "Traceback" not in err
    return process.returncode, err.splitlines()


def test_a_first_interruption_saves_what_was_learned(world, tmp_path):
    """Long before the first checkpoint, which comes after 30 s."""
    recipe, run = tmp_path / "long.yaml", tmp_path / "run"
    recipe.write_text(yaml.safe_dump({"method": "finetune", "options": {"training": LONG}}))
    train = [sys.executable, "-m", "cign", "train", str(world.store), "--out", str(run)]
    command = [*train, "--recipe", str(recipe), "--tasks", "2"]
    code, err = interrupted(command, run, (run / "config.yaml").exists)
    assert code == 130
    assert "saving after this step" in "".join(err)
    pattern = (
        r"cign: interrupted; task 1/2 up to step (\d) of epoch (\d+) is saved, "
        r"run the same command with --resume to resume"
    )
    before = re.fullmatch(pattern, err[-1])
    assert before is not None, err
    checkpoint = run / "checkpoint.safetensors"
    saved = checkpoint.stat().st_mtime_ns
    assert json.loads((run / "metrics.json").read_text())["status"] != "finished"
    time.sleep(0.1)
    code, err = interrupted([*train, "--resume"], run, lambda: (run / ".lock").exists())
    after = re.fullmatch(pattern, err[-1])
    if after is None:  # pressed while the process was still being started
        said = ("nothing has been learned since the start", "finished work is saved")
        assert any(text in err[-1] for text in said), err
        assert checkpoint.stat().st_mtime_ns == saved
    else:
        assert int(after[2]) > int(before[2])
        assert checkpoint.stat().st_mtime_ns > saved
    assert code == 130


def test_interrupted_before_there_is_a_run(world, tmp_path):
    run = tmp_path / "run"
    script = (
        "import signal, sys, cign.runs.build\n"
        "from cign.cli.entry_point import main\n"
        "cign.runs.build.build_method = lambda *_, **__: signal.raise_signal(signal.SIGINT)\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    words = ["train", str(world.store), "--out", str(run)]
    done = subprocess.run(
        [sys.executable, "-c", script, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 130
    assert done.stderr.splitlines()[-1] == (
        "cign: interrupted; nothing has been learned since the start, "
        "run the same command again to resume"
    )
    assert not run.exists()


class Presses(Silent):
    """Presses Ctrl-C after some steps of training."""

    def __init__(self, after, times=1):
        self.left, self.times = after, times

    def advance(self, steps=1):
        before, self.left = self.left, self.left - steps
        if before > 0 >= self.left:
            for _ in range(self.times):
                signal.raise_signal(signal.SIGINT)


def loop_in(folder, progress):
    folder.mkdir(exist_ok=True)
    loop = toy_loop("finetune", options=FAST)
    loop.checkpoint, loop.predictions_path = folder / "c.safetensors", folder / "p.parquet"
    loop.progress, loop.checkpoint_every_s = progress, 1e9
    return loop


STEP = r"task {}/3 up to step \d of epoch \d is saved"


@pytest.mark.parametrize(
    ("after", "kept"),
    [
        (1, STEP.format(1)),
        (3, STEP.format(1)),
        (NUM_STEPS + 1, "1 of 3 tasks is saved"),  # while test clips are scored
        (NUM_STEPS + NUM_TEST + 2, STEP.format(2)),
    ],
)
def test_what_is_saved_goes_on_to_the_same_bits(after, kept, tmp_path):
    whole = loop_in(tmp_path / "whole", Silent())
    whole.run()
    loop = loop_in(tmp_path / "stopped", Presses(after))
    with pytest.raises(Interrupted, match=kept):
        loop.run()
    again = loop_in(tmp_path / "stopped", Silent())
    if again.predictions_path.exists():
        again.predictions = Predictions.load(again.predictions_path)
    again.resume()
    assert again.place == loop.place
    again.run()
    for name, value in whole.method.state_dict().items():
        assert torch.equal(value, again.method.state_dict()[name]), name
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_interruption_does_not_wait(tmp_path):
    loop = loop_in(tmp_path / "run", Presses(3, times=2))
    with pytest.raises(Interrupted, match="nothing is saved"):
        loop.run()
    assert not loop.checkpoint.exists()
    # After a task it is the task that is kept.
    loop = loop_in(tmp_path / "later", Presses(NUM_STEPS + NUM_TEST + 3, times=2))
    with pytest.raises(Interrupted, match="1 of 3 tasks is saved"):
        loop.run()


def test_without_a_checkpoint_nothing_is_held_back():
    loop = toy_loop("finetune", options=FAST)
    loop.progress = Presses(2)
    with pytest.raises(KeyboardInterrupt) as caught:
        loop.run()
    assert not isinstance(caught.value, Interrupted)


def test_whoever_ignores_interruptions_goes_on_doing_so():
    interrupts = Interrupts()
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupts.held_back(lambda: "x"):
            os.kill(os.getpid(), signal.SIGINT)
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert not interrupts.asked


def test_in_another_thread_there_is_nothing_to_hold_back():
    found = []

    def work():
        with Interrupts().held_back(lambda: "x"):
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [signal.default_int_handler]


def test_a_branch_is_told_how_it_goes_on(cign, world, tmp_path, monkeypatch):
    run = shutil.copytree(world.run, tmp_path / "begun")

    def stop(*_, **__):
        raise Interrupted("1 of 2 tasks is saved")

    monkeypatch.setattr("cign.cli.commands.train._run", stop)
    code, _, err = cign("train", world.store, "--out", run, "--branch-from", "x@1")
    assert code == 130
    assert err.splitlines()[-1] == (
        "cign: interrupted; 1 of 2 tasks is saved, run the same command with --resume instead of "
        "--branch-from to resume"
    )


def test_an_interruption_while_classes_are_being_made_has_the_same_exit_code(tmp_path):
    """With ``-m``, as `cign` is started here, Python itself decides about the exit code."""
    (tmp_path / "interrupted_import.py").write_text(
        "import sys\n"
        "from cign.cli import entry_point\n"
        "def run(*arguments):\n"
        "    exec('raise KeyboardInterrupt')\n"
        "entry_point._run = run\n"
        "sys.exit(entry_point.main(['versions', 'model']))\n"
    )
    command = [sys.executable, "-m", "interrupted_import"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert "interrupted" in done.stderr
    assert done.returncode == 130
