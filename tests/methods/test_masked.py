"""Masked cross-entropy: its loss, that of the prompt methods, and which rows it trains."""

import numpy as np
import pytest
import torch

from cign.losses.classification import own_task_loss
from cign.metrics.incremental import summarise
from loops import (
    TASK_OF_CLASS,
    assert_step,
    batch_of,
    binary_cross_entropy,
    cross_entropy,
    grown,
    phase_of,
)
from test_gradients import batch_of as plain_batch
from toy import toy_loop, toy_method

LINEAR = {
    "training": {
        "num_epochs": 4,
        "batch_size": 8,
        "learning_rate": 1e-2,
        "optimizer": "adamw",
        "weight_decay": 1.0,
    }
}


def classes_of(task):
    return [c for c, of in enumerate(TASK_OF_CLASS) if of == task]


@pytest.mark.parametrize("labels", [[3, 4, 3, 0, 1, 2], [3, 4, 4], [4], [1]])
def test_each_clip_is_learned_over_the_classes_of_its_own_task(labels):
    batch = batch_of(labels)

    def expected(modality, logits):
        loss, gradient = 0.0, np.zeros_like(logits)
        for b, label in enumerate(labels):
            value, of_clip = cross_entropy(logits[b], label, classes_of(TASK_OF_CLASS[label]))
            loss, gradient[b] = loss + value / len(labels), of_clip / len(labels)
        return {"": loss}, gradient

    assert_step(grown("masked"), batch, phase_of(len(labels)), expected)


def test_a_clip_of_several_labels_belongs_to_the_latest_task_of_them():
    labels = [3, 4, 0, 1]
    batch = batch_of(labels, several=[(0, 1), (1, 3), (2, 2)])
    tasks = [1, 1, 0, 0]

    def expected(modality, logits):
        loss, gradient = 0.0, np.zeros_like(logits)
        for b, task in enumerate(tasks):
            targets = batch.targets[b].numpy()
            value, of_clip = binary_cross_entropy(logits[b], targets, classes_of(task))
            loss, gradient[b] = loss + value / 4, of_clip / 4
        return {"": loss}, gradient

    assert_step(grown("masked", multi_label=True), batch, phase_of(4), expected)


@pytest.mark.parametrize("name", ["l2p", "dualprompt"])
def test_its_loss_is_that_of_the_prompt_methods(name):
    method, batch = toy_method(name).eval(), plain_batch(5)
    new = batch.labels >= 3
    method.grow(3)
    method.grow(2)
    batch = type(batch)(
        audio=batch.audio[new],
        visual=batch.visual[new],
        targets=batch.targets[new],
        from_memory=batch.from_memory[new],
        indices=batch.indices[new.numpy()],
    )
    losses = method.learn(batch, phase_of(4))
    features, _ = method.features(batch.audio, batch.visual)
    for modality in ("audio", "visual", "audio_visual"):
        logits = method.head(modality)(features[modality])
        masked = own_task_loss(logits, batch.targets, [3, 2], multi_label=False)
        torch.testing.assert_close(losses[modality], masked)


@pytest.mark.parametrize("multi_label", [False, True])
def test_a_task_of_one_class_has_a_finite_loss(multi_label):
    method = toy_method("masked", multi_label=multi_label)
    method.grow(2)
    method.grow(1)
    batch = plain_batch(3)
    losses = method.learn(batch, phase_of(6))
    torch.stack(list(losses.values())).sum().backward()
    assert all(torch.isfinite(value) for value in losses.values())
    gradient = method.network.heads["audio"].weights[1].grad
    # A soft-max over one class is 1 whatever its logit.
    assert gradient.any() == multi_label


def rows_after_tasks(memory):
    """The rows of the first task's classes after each task."""
    loop = toy_loop("masked", options=LINEAR, memory=memory)
    found = []
    loop.after_task = lambda: found.append(
        loop.method.network.heads["audio_visual"].weights[0].detach().clone()
    )
    loop.run()
    return found


def test_rows_of_old_classes_stay_bit_for_bit_without_a_memory():
    first, second, third = rows_after_tasks("0")
    assert torch.equal(first, second)
    assert torch.equal(first, third)


def test_exemplars_train_the_rows_of_their_classes():
    first, second, third = rows_after_tasks("12")
    assert not torch.equal(first, second)
    assert not torch.equal(second, third)


def test_of_ten_tasks_and_more_only_the_newest_rows_are_trained():
    loop = toy_loop("masked", options=LINEAR, num_classes=12, num_tasks=12, per_class=3)
    loop.run()
    (phase,) = loop.method.phases(loop._task_data(11))
    trained = {n for n, _ in loop.method.named_parameters() if n.startswith(phase.trained)}
    assert {name.rpartition(".")[2] for name in trained} == {"11"}
    assert len(trained) == 6


def test_the_trunk_is_trained_in_every_task():
    loop = toy_loop("masked", options={**LINEAR, "trunk": "transformer", "depth": 1})
    found = []
    loop.after_task = lambda: found.append(
        loop.method.network.audio_trunk[0].weight.detach().clone()
    )
    loop.run()
    assert not torch.equal(found[0], found[1])
    assert not torch.equal(found[1], found[2])


def test_it_forgets_less_than_fine_tuning():
    forgetting = {}
    for name in ("finetune", "masked"):
        loop = toy_loop(name, options=LINEAR, per_class=30, num_classes=8, num_tasks=4)
        loop.run()
        forgetting[name] = summarise(loop.predictions)["audio_visual"]["forgetting"]
    assert forgetting["masked"] < forgetting["finetune"] - 20
