"""Traps 6 and 7: what a method may see of a run, and what each of its two seeds decides."""

import dataclasses
import json

import numpy as np
import pytest
import torch
import yaml

from cign.data.batches import ArraySource
from cign.data.exemplar_memory import ExemplarMemory
from cign.data.store import Store
from cign.data.tasks import split_into_tasks
from cign.learner import Learner
from cign.methods import METHODS
from cign.methods.base import TaskData
from cign.runs.build import build_loop, build_method
from cign.runs.configuration import RunConfig
from cign.runs.training_data import TrainingData
from toy import SHAPE, quick_options, toy_blocks
from traps.runs import NAMES, learned, make, same, state_of

# ----------------------------------------------- trap 6: test data decide what is kept


class Guarded:
    """A source that tells what was read during which task, and refuses what is not a task's."""

    def __init__(self, loop):
        self.loop, self.source, self.read_by_task = loop, loop.source, {}
        self.bytes_per_clip, self.availability = (
            loop.source.bytes_per_clip,
            loop.source.availability,
        )
        self.ahead = loop.source.ahead

    def read(self, indices):
        loop = self.loop
        task = loop.place.task
        allowed = [loop.clips.of_task(loop.train, task), loop.memory.indices]
        if loop.method.replays_everything:
            allowed.append(loop.clips.up_to(loop.train, task))
        strange = set(indices.tolist()) - set(np.concatenate(allowed).tolist())
        assert not strange, f"task {task} reads clips that are not its own: {strange}"
        self.read_by_task.setdefault(task, set()).update(indices.tolist())
        return self.source.read(indices)


@pytest.mark.parametrize("name", NAMES)
def test_trap_06_test_clips_and_their_labels_reach_nothing_that_is_learned(name):
    loop = make(name)
    test, rng = loop.test, np.random.default_rng(7)
    # Other labels, other sounds and pictures, and a source that has no test clip at all.
    loop.clips.targets[test] = loop.clips.targets[rng.permutation(test)]
    loop.clips.task_of_clip[test] = loop.clips.task_of_clip[rng.permutation(test)]
    loop.predictions.labels = [loop.predictions.labels[i] for i in rng.permutation(len(test))]
    noise = {modality: rng.normal(size=(200, 4, 16)).astype(np.float16) for modality in "av"}
    loop.test_source = ArraySource(lambda i: noise["a"][i, :3], lambda i: noise["v"][i], 224)
    loop.source = Guarded(loop)
    loop.run()
    expected = learned(name)
    assert same(state_of(loop.method), state_of(expected.method))
    assert loop.losses == expected.losses
    assert loop.memory.state() == expected.memory.state()
    assert not np.array_equal(
        loop.predictions.scores[-1]["audio"], expected.predictions.scores[-1]["audio"]
    )
    for task in range(3):  # and all of a task's clips are used, by every method
        own = set(loop.clips.of_task(loop.train, task).tolist())
        assert own <= loop.source.read_by_task[task]


def test_trap_06_a_method_is_given_no_test_and_no_validation_clips(tiny):
    assert {f.name for f in dataclasses.fields(TaskData)} == {
        *("task", "num_old", "num_new", "new", "memory", "earlier"),
        *("batches", "class_of", "sources", "features", "bytes_per_clip", "seed", "identity"),
    }
    store = Store.open(tiny[1])
    tasks = split_into_tasks(store.class_names, 2).groups
    config = RunConfig.of("joint", tasks=tasks, backbone="small-random")
    loop = build_loop(config, TrainingData.open(config, store))
    splits = {store.table.clips[i].split for i in loop.train}
    assert splits == {"train"}
    assert {store.table.clips[i].split for i in loop.test} == {"test"}


def test_trap_06_the_result_says_which_epoch_was_kept(taught):
    _, metrics, _ = taught
    assert metrics["model_selection"] == "last epoch; no clip is held out to choose another"


# ------------------------------------------------------- trap 7: a seed that only orders classes


@pytest.fixture(scope="module")
def taught(tiny, tmp_path_factory):
    """A run with two different seeds: learner, metrics.json and config.yaml."""
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("run")
    learner = Learner("finetune", options=quick_options("finetune"), seed=5)
    learner.learn(tiny[1], tasks=2, order=3, out=out / "run")
    metrics = json.loads((out / "run" / "metrics.json").read_text())
    return learner, metrics, yaml.safe_load((out / "run" / "config.yaml").read_text())


def test_trap_07_both_seeds_are_recorded(taught, tiny):
    _, metrics, config = taught
    assert metrics["seeds"] == {"order": 3, "run": 5}
    assert (config["order"], config["training"]["seed"]) == (3, 5)
    names = Store.open(tiny[1]).class_names
    assert metrics["classes"] == list(split_into_tasks(names, 2, 3).class_order) != list(names)


@pytest.mark.parametrize("name", NAMES)
def test_trap_07_first_weights_come_from_the_run_seed_alone(name):
    def first(**kwargs):
        tasks = split_into_tasks(["a", "b", "c", "d"], 2, kwargs.get("order", 0)).groups
        config = RunConfig.of(name, options=quick_options(name), tasks=tasks, **kwargs)
        blocks = toy_blocks() if METHODS[name].needs_blocks else None
        method = build_method(config, SHAPE, None, multi_label=False, blocks=blocks)
        torch.manual_seed(config.training.seed)
        method.grow(2)
        return state_of(method)

    base = first()
    assert same(base, first(order=4))
    drawn = any(p.any() and not n.startswith("blocks.") for n, p in base.items())
    assert same(base, first(seed=1)) != (METHODS[name].seed_matters and drawn)


@pytest.mark.parametrize("name", NAMES)
def test_trap_07_the_run_seed_matters_where_the_method_says_so(name):
    other, base = make(name, seed=1), learned(name)
    other.run()
    states = other.method.state_dict(), base.method.state_dict()
    pairs = zip(*(state.values() for state in states), strict=True)
    changed = not all(torch.allclose(a, b, rtol=1e-5, atol=1e-6) for a, b in pairs)
    assert changed == METHODS[name].seed_matters
    assert other.clips.tasks == base.clips.tasks


class Noting:
    """A source that notes what is read, in order."""

    def __init__(self, loop):
        self.source, self.reads = loop.source, []
        self.bytes_per_clip, self.availability = (
            loop.source.bytes_per_clip,
            loop.source.availability,
        )
        self.ahead = loop.source.ahead

    def read(self, indices):
        self.reads.append(indices.tolist())
        return self.source.read(indices)


def test_trap_07_the_order_decides_the_classes_and_the_run_seed_the_draws():
    def reads(**kwargs):
        loop = make("finetune", num_tasks=1, memory="0", **kwargs)
        loop.source = Noting(loop)
        loop.run()
        return loop.clips.tasks.class_order, loop.source.reads

    names, draws = reads()
    other_names, same_draws = reads(order=4)
    same_names, other_draws = reads(seed=4)
    assert names == same_names != other_names
    assert draws == same_draws != other_draws


def test_trap_07_random_exemplars_come_from_the_run_seed():
    chosen = []
    for seed in (1, 1, 2):
        loop = make("finetune", seed=0)
        loop.memory = ExemplarMemory(loop.memory.budget, selection="random", seed=seed)
        loop.run()
        chosen.append(loop.memory.state())
    assert chosen[0] == chosen[1] != chosen[2]
