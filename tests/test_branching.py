"""A run that begins with the state of another comes to what it would have come to on its own."""

import json
import shutil

import numpy as np
import pytest
import torch
import yaml

from cign.data.tasks import TaskSequence
from cign.errors import InputError
from cign.learner import Learner
from cign.metrics.predictions import Predictions
from cign.runs.branching import state_after
from cign.training.loop import Loop
from cign.vocabulary import MODALITIES
from refusals import input_error

OPTIONS = {
    "icarl": {"training": {"num_epochs": 2, "min_steps": 0, "batch_size": 8}},
    "lwf": {"training": {"num_epochs": 2, "min_steps": 0, "batch_size": 8}},
    "cign_analytic": {"width": 30, "batch_size": 5},
}
HOW = {"memory": "8", "seed": 3}


@pytest.fixture(scope="module", params=list(OPTIONS))
def run(request, tiny, tmp_path_factory):
    """A run in four tasks with a state after each."""
    out = tmp_path_factory.mktemp("runs") / request.param
    learner = Learner(request.param, options=OPTIONS[request.param], **HOW)
    return learner.learn(tiny[1], tasks=4, out=out, keep_tasks=True), out


def again(run, **changes):
    config = run[0].config
    return Learner(config.method, **{"options": OPTIONS[config.method], **HOW, **changes})


def check_same(ours, theirs, num_tasks=4):
    one, other = (Predictions.load(folder / "predictions.parquet") for folder in (ours, theirs))
    assert one.num_tasks_done == 4
    for mine, yours in zip(one.scores[:num_tasks], other.scores[:num_tasks], strict=True):
        for modality in MODALITIES:
            np.testing.assert_array_equal(mine[modality], yours[modality])


@pytest.mark.parametrize("task", [1, 3])
def test_a_branch_with_nothing_changed_comes_to_the_same_bits(run, task, tiny, tmp_path):
    learner = again(run).learn(tiny[1], out=tmp_path / "b", branch_from=f"{run[1]}@{task}")
    check_same(tmp_path / "b", run[1])
    for name, value in run[0].model.method.state_dict().items():
        torch.testing.assert_close(learner.model.method.state_dict()[name], value, rtol=0, atol=0)
    assert learner.metrics["losses"] == run[0].metrics["losses"]
    config = yaml.safe_load((tmp_path / "b" / "config.yaml").read_text())
    assert config["branched_from"] == f"{run[1]}@{task}"
    kept = Predictions.load(run[1] / "predictions.parquet")
    assert kept.num_tasks_done == 4  # the run itself is as it was
    in_memory = again(run).learn(tiny[1], branch_from=f"{run[1]}@{task}")
    assert in_memory.metrics["modalities"] == run[0].metrics["modalities"]


def test_tasks_to_come_may_be_others(run, tiny, tmp_path):
    groups = run[0].config.tasks
    other = TaskSequence((groups[0], groups[2], groups[3], groups[1]))
    again(run).learn(tiny[1], tasks=other, out=tmp_path / "b", branch_from=f"{run[1]}@1")
    whole = tmp_path / "whole"
    again(run).learn(tiny[1], tasks=other, out=whole)
    check_same(tmp_path / "b", whole)
    wrong = TaskSequence((groups[1], groups[0], *groups[2:]))
    with input_error("resume-mismatch", "first 1 tasks"):
        again(run).learn(tiny[1], tasks=wrong, out=tmp_path / "c", branch_from=f"{run[1]}@1")
    assert not (tmp_path / "c").exists()


def test_a_branch_that_is_stopped_goes_on(run, tiny, tmp_path, monkeypatch):
    out = tmp_path / "b"

    def stopped(self):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "run", stopped)
        branch = again(run)
        with pytest.raises(KeyboardInterrupt):
            branch.learn(tiny[1], out=out, branch_from=f"{run[1]}@2")
    assert json.loads((out / "metrics.json").read_text())["status"] != "finished"
    shutil.move(run[1], run[1].with_name("elsewhere"))  # the branch needs it no more
    try:
        Learner().learn(tiny[1], out=out, resume=True)
        check_same(out, run[1].with_name("elsewhere"))
    finally:
        shutil.move(run[1].with_name("elsewhere"), run[1])


def test_options_and_seed_of_what_is_to_come(run, tiny, tmp_path):
    if run[0].config.method == "cign_analytic":
        pytest.skip("its sums are of its options")
    options = json.loads(json.dumps(OPTIONS[run[0].config.method]))
    options["training"]["num_epochs"] = 1
    for name, changes in {"options": {"options": options}, "seed": {"seed": 4}}.items():
        out = tmp_path / name
        branch = again(run, **changes).learn(tiny[1], out=out, branch_from=f"{run[1]}@2")
        check_same(out, run[1], num_tasks=2)
        ours, theirs = branch.metrics["losses"], run[0].metrics["losses"]
        assert ours[:4] == theirs[:4]  # two tasks of two epochs
        assert ours[4:] != theirs[4:], name


def test_what_cannot_be_branched_is_one_sentence(run, tiny, tmp_path):
    def refused(text, at, learner=None, store=tiny[1]):
        with pytest.raises(InputError, match=text):
            (learner or again(run)).learn(store, out=tmp_path / "b", branch_from=at)
        assert not (tmp_path / "b").exists()

    out = run[1]
    refused("is not RUN@TASK: write it like work/run@2", str(out))
    refused("cannot be branched from task 4: use 1 to 3", f"{out}@4")
    refused("cannot be branched from task 0", f"{out}@0")
    refused("is not a run folder", f"{out.parent / 'none'}@1")
    refused("trained with memory 8, not 0", f"{out}@1", again(run, memory="0"))
    bare = shutil.copytree(out, tmp_path / "bare", ignore=shutil.ignore_patterns("tasks"))
    refused("has no saved state after task 2: train it again with --keep-tasks", f"{bare}@2")
    scored = tmp_path / "bare" / "predictions.parquet"
    predictions = Predictions.load(scored)
    predictions.clip_ids[0] = "of another store"
    predictions.save(scored)
    shutil.copytree(out / "tasks", tmp_path / "bare" / "tasks")
    refused("was trained on another store", f"{bare}@2")
    shutil.copy(out / "predictions.parquet", scored)
    shutil.copy(state_after(out, 3), state_after(tmp_path / "bare", 2))
    refused("the checkpoint at 3|is not the state after task 2", f"{bare}@2")


def test_the_command(cign, tiny, tmp_path):
    recipe = tmp_path / "quick.yaml"
    recipe.write_text(yaml.safe_dump({"method": "lwf", "options": OPTIONS["lwf"]}))
    store, first = tiny[1], tmp_path / "first"
    make = ("train", store, "--out", first, "--recipe", recipe, "--tasks", 4, "--keep-tasks")
    assert cign(*make)[0] == 0
    assert sorted(path.name for path in (first / "tasks").iterdir()) == [
        f"{task}.safetensors" for task in range(1, 5)
    ]
    branch = ("train", store, "--out", tmp_path / "second", "--branch-from", f"{first}@2")
    assert cign(*branch, "--seed", 5)[0] == 0
    check_same(tmp_path / "second", first, num_tasks=2)
    changed = ("--out", tmp_path / "changed", "--branch-from", f"{first}@2")
    code, _, err = cign("train", store, *changed, "--set", "training.learning_rate=0.5")
    assert code == 0, err
    saved = yaml.safe_load((tmp_path / "changed" / "config.yaml").read_text())
    assert (saved["method"], saved["options"]["training"]["learning_rate"]) == ("lwf", 0.5)
    for more, text in (
        (("--memory", 8), "was trained with memory 0, not 8"),
        (("--tasks", 4), "--tasks cannot differ from the run"),
        (("--method", "ewc"), "was trained with method lwf, not ewc"),
        (("--resume",), "--branch-from starts a new one: leave one out"),
    ):
        command = ("train", store, "--out", tmp_path / "third", "--branch-from", f"{first}@2")
        code, _, err = cign(*command, *more)
        assert code == 2, err
        assert text in err
