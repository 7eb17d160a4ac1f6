"""ER-ACE: its asymmetric loss."""

import numpy as np
import pytest

from cign.metrics.incremental import summarise
from loops import (
    assert_step,
    batch_of,
    binary_cross_entropy,
    cross_entropy,
    grown,
    phase_of,
)
from toy import toy_loop

TRAIN = {"training": {"num_epochs": 6, "batch_size": 8, "learning_rate": 1e-2}}
NEW, ALL = (3, 4), range(5)


@pytest.mark.parametrize("labels", [[3, 4, 3, 0, 1], [3, 0], [4, 4, 2, 1, 0, 0]])
def test_new_clips_over_new_classes_and_exemplars_over_all(labels):
    num_new = sum(label >= 3 for label in labels)
    num_old = len(labels) - num_new

    def expected(modality, logits):
        new = replayed = 0.0
        gradient = np.zeros_like(logits)
        for b, label in enumerate(labels):
            if label >= 3:
                value, of_clip = cross_entropy(logits[b], label, NEW)
                new, gradient[b] = new + value / num_new, of_clip / num_new
            else:
                value, of_clip = cross_entropy(logits[b], label, ALL)
                replayed, gradient[b] = replayed + value / num_old, of_clip / num_old
        return {"": new, "_replay": replayed}, gradient

    assert_step(grown("er_ace"), batch_of(labels), phase_of(num_new, num_old), expected)


def test_clips_of_several_labels_have_the_binary_form_over_the_same_classes():
    batch = batch_of([3, 4, 0, 1], several=[(0, 1), (1, 3), (2, 2)])

    def expected(modality, logits):
        terms, gradient = {"": 0.0, "_replay": 0.0}, np.zeros_like(logits)
        for b, classes in enumerate([NEW, NEW, ALL, ALL]):
            targets = batch.targets[b].numpy()
            value, of_clip = binary_cross_entropy(logits[b], targets, classes)
            terms["" if b < 2 else "_replay"] += value / 2
            gradient[b] = of_clip / 2
        return terms, gradient

    assert_step(grown("er_ace", multi_label=True), batch, phase_of(2, 2), expected)


def test_new_clips_leave_old_logits_alone():
    method, batch = grown("er_ace"), batch_of([3, 4, 3, 0, 1, 2])
    method.learn(batch, phase_of(3, 3))["audio"].backward()
    head = method.network.heads["audio"]
    assert not head.weights[0].grad.any()
    assert head.weights[1].grad.any()


def test_it_forgets_less_than_fine_tuning():
    found = {}
    for name, memory in (("finetune", "0"), ("er_ace", "12")):
        loop = toy_loop(name, options=TRAIN, memory=memory, per_class=24)
        loop.run()
        found[name] = summarise(loop.predictions)["audio_visual"]
    assert found["er_ace"]["last"] > found["finetune"]["last"] + 10
    assert found["er_ace"]["forgetting"] < found["finetune"]["forgetting"] - 20
