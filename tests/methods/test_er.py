"""Experience replay: its batches and its loss."""

import numpy as np
import pytest
import torch

from cign.data.exemplar_memory import MemoryBudget
from cign.methods import METHODS
from cign.methods.replay import WithReplay
from cign.metrics.incremental import summarise
from loops import (
    assert_step,
    batch_of,
    binary_cross_entropy,
    cross_entropy,
    grown,
    phase_of,
)
from test_gradients import batch_of as plain_batch
from toy import toy_loop, toy_method

TRAIN = {"training": {"num_epochs": 6, "batch_size": 8, "learning_rate": 1e-2}}
REPLAYING = [name for name, method in METHODS.items() if issubclass(method, WithReplay)]


@pytest.mark.parametrize("labels", [[3, 4, 3, 0, 1, 2], [4, 3, 4, 2]])
def test_new_and_replayed_clips_are_learned_alike_over_all_classes(labels):
    def expected(modality, logits):
        loss, gradient = 0.0, np.zeros_like(logits)
        for b, label in enumerate(labels):
            value, of_clip = cross_entropy(logits[b], label, range(5))
            loss, gradient[b] = loss + value / len(labels), of_clip / len(labels)
        return {"": loss}, gradient

    assert_step(grown("er"), batch_of(labels), phase_of(3, len(labels) - 3), expected)


def test_clips_of_several_labels_have_the_binary_form():
    batch = batch_of([3, 4, 0, 1], several=[(0, 1), (2, 2)])

    def expected(modality, logits):
        loss, gradient = 0.0, np.zeros_like(logits)
        for b in range(4):
            value, of_clip = binary_cross_entropy(logits[b], batch.targets[b].numpy(), range(5))
            loss, gradient[b] = loss + value / 4, of_clip / 4
        return {"": loss}, gradient

    assert_step(grown("er", multi_label=True), batch, phase_of(2, 2), expected)


@pytest.mark.parametrize("name", REPLAYING)
def test_each_draw_has_as_many_exemplars_as_a_full_batch_has_new_clips(name, monkeypatch):
    seen = []
    cls = METHODS[name]
    learn = cls.learn

    def spy(self, batch, phase):
        seen.append((len(self.class_counts), batch.from_memory.numpy().copy(), batch.indices))
        return learn(self, batch, phase)

    monkeypatch.setattr(cls, "learn", spy)
    options = {"training": {"num_epochs": 3, "batch_size": 6}}
    loop = toy_loop(name, options=options, memory="12")
    loop.run()
    num_replay = 6 * cls.num_draws
    sizes = {task: set() for task in (1, 2, 3)}
    for task, old, _ in seen:
        sizes[task].add((int((~old).sum()), int(old.sum())))
        assert not old[: int((~old).sum())].any()  # new clips come first
    # 16 new clips of a task.
    later = {(6, num_replay), (4, num_replay)}
    assert sizes == {1: {(6, 0), (4, 0)}, 2: later, 3: later}
    used = np.concatenate([clips[old] for task, old, clips in seen if task == 3])
    counts = np.bincount(used)
    counts = counts[counts > 0]
    assert len(counts) == 12  # every exemplar of two tasks
    assert counts.max() - counts.min() <= 3  # at most one a pass


@pytest.mark.parametrize("name", REPLAYING)
def test_weights_of_the_parts_of_a_batch_give_their_means(name):
    method = grown(name)
    num_draws = method.num_draws
    batch = batch_of([3, 4, 3] + [0, 1] * num_draws)
    values = np.arange(1.0, len(batch.indices) + 1)
    parts = method.part_weights(batch, phase_of(3, 2 * num_draws))
    means = [float((part.numpy() * values).mean()) for part in parts]
    expected = [values[:3].mean()]
    places = np.arange(3, len(values))
    expected += [values[places[places % num_draws == draw]].mean() for draw in range(num_draws)]
    assert means == pytest.approx(expected)
    assert len({tuple(np.flatnonzero(part)) for part in parts}) == 1 + num_draws


def test_a_memory_smaller_than_a_batch_is_drawn_from_repeatedly():
    loop = toy_loop("er", options=TRAIN, memory="6", num_classes=6)
    loop.run()
    data = loop._task_data(2)
    assert MemoryBudget.parse("6") == loop.memory.budget
    (phase,) = loop.method.phases(data)
    batches = phase.batches(np.random.default_rng(0))
    assert [len(batch) for batch in batches] == [16, 16]
    assert len(set(batches[0][8:])) == len(data.memory) == 6


def test_it_forgets_less_than_fine_tuning():
    found = {}
    for name, memory in (("finetune", "0"), ("er", "12")):
        loop = toy_loop(name, options=TRAIN, memory=memory, per_class=24)
        loop.run()
        found[name] = summarise(loop.predictions)["audio_visual"]
    assert found["er"]["last"] > found["finetune"]["last"] + 10
    assert found["er"]["forgetting"] < found["finetune"]["forgetting"] - 20


@pytest.mark.parametrize("name", REPLAYING)
def test_the_first_task_is_plain_cross_entropy(name):
    losses = {}
    for one in (name, "finetune"):
        method = toy_method(one)
        method.grow(3)
        losses[one] = method.eval().learn(plain_batch(3), phase_of(6))
    assert losses[name].keys() == losses["finetune"].keys()
    for modality, value in losses["finetune"].items():
        torch.testing.assert_close(losses[name][modality], value)
