"""A stopped run goes on to the same bits as one that was never stopped."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from cign.errors import InputError
from cign.methods import METHODS
from cign.metrics.predictions import Predictions
from cign.utils.leftovers import held_folder
from refusals import input_error
from toy import quick_options, toy_loop
from traps.runs import assert_same_results

SPECIAL = {
    "av_cil": {"training": {"num_epochs": 2, "batch_size": 6}, "trunk": "transformer", "depth": 1},
    "podnet": {
        "training": {"num_epochs": 2, "batch_size": 7},
        "balanced_training": {"num_epochs": 2, "batch_size": 5},
        "depth": 1,
    },
    "ssil": {"training": {"num_epochs": 3, "batch_size": 5, "schedule": "cosine"}},
    "masked": {"training": {"num_epochs": 3, "batch_size": 6, "optimizer": "adamw"}},
    "er": {"training": {"num_epochs": 3, "batch_size": 5, "schedule": "cosine"}},
    "derpp": {"training": {"num_epochs": 3, "batch_size": 5, "optimizer": "sgd"}},
    "er_ace": {"training": {"num_epochs": 2, "batch_size": 4}, "trunk": "transformer"},
    "wa": {"training": {"num_epochs": 3, "batch_size": 7}, "clip_weights": True},
    "l2p": {"training": {"num_epochs": 2, "batch_size": 6}, "num_chosen": 2},
    "dualprompt": {"training": {"num_epochs": 2, "batch_size": 6, "schedule": "cosine"}},
    "analytic": {"width": 30, "ridge": [1.0, 10.0], "batch_size": 2},
    "cign_replay": {"training": {"num_epochs": 2, "batch_size": 7}, "width": 32},
    "cign_analytic": {"width": 30, "batch_size": 2},
    "finetune": {"training": {"num_epochs": 3, "batch_size": 5, "schedule": "one_cycle"}},
    "joint": {"trunk": "transformer", "training": {"num_epochs": 2, "batch_size": 9}},
    "cign": {
        "training": {"num_epochs": 2, "min_steps": 0, "batch_size": 7},
        "depth": 1,
        "assignment": "hard",
    },
    "ewc": {
        "training": {"num_epochs": 2, "batch_size": 6},
        "trunk": "transformer",
        "num_fisher_clips": 5,
    },
    "ewc_online": {"training": {"num_epochs": 3, "batch_size": 5}, "fisher_labels": "true"},
    "lwf": {"training": {"num_epochs": 3, "batch_size": 7, "optimizer": "sgd"}},
    "icarl": {"training": {"num_epochs": 2, "batch_size": 8}, "trunk": "transformer"},
    "il2m": {"training": {"num_epochs": 3, "batch_size": 9, "schedule": "cosine"}},
    "bic": {
        "training": {"num_epochs": 2, "batch_size": 7},
        "bias_training": {"num_epochs": 3, "batch_size": 3, "optimizer": "adamw"},
    },
    "cign_tuned": {
        "training": {"num_epochs": 2, "min_steps": 0, "batch_size": 8, "optimizer": "sgd"},
        "depth": 1,
        "assignment": "hard",
        "token_distillation": "transformed",
        "old_tokens": "frozen",
    },
}
SPECIAL |= {name: {"batch_size": 5} for name in ("ncm", "slda", "fecam")}
SPECIAL["ranpac"] = {"width": 30, "batch_size": 5}
# Methods that are not named above are stopped with quick options.
OPTIONS = {name: SPECIAL.get(name) or quick_options(name) for name in METHODS}


def make(name, folder, **kwargs):
    return toy_loop(name, options=OPTIONS[name], memory="12", folder=folder, seed=3, **kwargs)


def resumed(name, folder, **kwargs):
    loop = make(name, folder, **kwargs)
    if loop.predictions_path.exists():
        loop.predictions = Predictions.load(loop.predictions_path)
    if loop.checkpoint.exists():
        loop.resume()
    return loop


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", OPTIONS)
def test_stopped_at_random_steps_and_resumed_gives_the_same_bits(name, tmp_path):
    unbroken = make(name, tmp_path / "unbroken")
    unbroken.run()
    rng = random.Random(name)
    stops = 0
    loop = make(name, tmp_path / "broken", checkpoint_every_s=0, stop_after=rng.randint(1, 6))
    loop.run()
    while loop.place.task < loop.clips.tasks.num_tasks:
        stops += 1
        torch.manual_seed(rng.randint(0, 10**6))  # what went on before must not matter
        loop = resumed(
            name, tmp_path / "broken", checkpoint_every_s=0, stop_after=rng.randint(1, 9)
        )
        loop.run()
    assert stops >= 3
    assert_same_results(resumed(name, tmp_path / "broken"), unbroken)


def run_child(folder: str) -> None:
    torch.set_num_threads(1)
    loop = resumed("cign", Path(folder), checkpoint_every_s=0)
    loop.run()


def test_killed_at_random_moments_and_resumed_gives_the_same_bits(tmp_path):
    unbroken = make("cign", tmp_path / "unbroken")
    unbroken.run()
    folder = tmp_path / "killed"
    folder.mkdir()
    command = [sys.executable, __file__, str(folder)]
    rng = random.Random(5)
    kills = 0
    while kills < 4:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        mark = time_of(folder)
        while time_of(folder) == mark and child.poll() is None:
            time.sleep(0.002)  # the first checkpoint of this life
        time.sleep(rng.uniform(0, 0.15))
        child.send_signal(signal.SIGKILL)
        if child.wait() == 0:
            break
        kills += 1
    assert kills >= 2, "the run ended before it could be killed twice: make it longer"
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    assert_same_results(resumed("cign", folder), unbroken)
    with held_folder(folder, "the run"):  # as a command holds it
        assert not list(folder.glob(".*.tmp"))


def time_of(folder: Path) -> int:
    path = folder / "checkpoint.safetensors"
    return path.stat().st_mtime_ns if path.exists() else 0


def test_checkpoint_of_another_recipe_is_refused_by_name(tmp_path):
    make("finetune", tmp_path).run()
    other = toy_loop("finetune", options={"trunk": "transformer"}, folder=tmp_path)
    other.predictions = Predictions.load(other.predictions_path)
    with input_error("weights-mismatch", "lacks", "'network.audio_trunk"):
        other.resume()


def test_damaged_checkpoint_is_refused(tmp_path):
    make("finetune", tmp_path).run()
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with input_error("damaged", "checkpoint.safetensors"):
        resumed("finetune", tmp_path)


@pytest.mark.parametrize(
    ("version", "said"),
    [
        (99, "has format 99, this version reads up to 4: update cign"),
        (1, "has format 1 of an earlier version .* again without --resume in a new folder"),
    ],
)
def test_checkpoint_of_another_version_is_refused(version, said, tmp_path):
    make("finetune", tmp_path).run()
    path = tmp_path / "checkpoint.safetensors"
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"]["format"] = str(version)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])
    with pytest.raises(InputError, match=said):
        resumed("finetune", tmp_path)


if __name__ == "__main__":
    run_child(sys.argv[1])
