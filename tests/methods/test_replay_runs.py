"""Whole runs of the replay methods: encoders trained, clips of several labels, single clips."""

import numpy as np
import pytest
import torch

from cign.backbones.registry import load_backbone
from cign.data.tasks import TaskClips
from cign.learner import Learner
from cign.metrics.predictions import Predictions
from toy import toy_loop, toy_method
from traps.runs import assert_same_results

LEARNS = {"training": {"num_epochs": 4, "batch_size": 8, "learning_rate": 2e-2}}
NAMES = ["masked", "er", "derpp", "er_ace", "wa"]
SEVERAL = ["masked", "er", "derpp", "er_ace"]


@pytest.mark.parametrize("name", NAMES)
def test_end_to_end_training_moves_the_encoders_and_reloads(name, tiny, tmp_path):
    learner = Learner(
        name,
        options={"training": {"num_epochs": 1, "batch_size": 8}},
        memory="4",
        regime="end-to-end",
        backbone="small-random",
    )
    learner.learn(tiny[1], tasks=2, out=tmp_path / "run")
    fresh = load_backbone("small-random").state_dict()
    trained = learner.model.method.network.encoder.backbone.state_dict()
    assert any(not torch.equal(fresh[key], value) for key, value in trained.items())
    files = sorted(map(str, (tiny[0] / "test").rglob("*.mp4")))[:2]
    assert list(Learner.load(tmp_path / "run").predict(files)) == list(learner.predict(files))


def several_labels(name, folder, **kwargs):
    """A run of three tasks in which every third clip has a label of another class as well."""
    loop = toy_loop(name, options=LEARNS, memory="12", folder=folder, seed=2, **kwargs)
    names = loop.clips.tasks.class_order
    labels = [
        (names[c], names[(c + 1 + i % 5) % 6]) if i % 3 == 1 else (names[c],)
        for i, c in enumerate(loop.clips.targets.argmax(axis=1))
    ]
    loop.clips = TaskClips.of(labels, loop.clips.tasks)
    loop.method = toy_method(name, LEARNS, multi_label=True)
    loop.predictions = Predictions(
        clip_ids=loop.predictions.clip_ids,
        labels=[labels[i] for i in loop.test],
        class_names=names,
        task_sizes=loop.clips.tasks.sizes,
    )
    return loop


@pytest.mark.parametrize("name", SEVERAL)
def test_a_run_on_clips_of_several_labels_resumes_bit_exactly_and_ranks_its_classes(name, tmp_path):
    whole = several_labels(name, tmp_path / "whole")
    assert (whole.clips.targets.sum(axis=1) == 2).sum() == 24
    whole.run()
    stopped = several_labels(name, tmp_path / "stopped", checkpoint_every_s=0)
    steps = []  # the state goes through the file in the middle of the second task
    stopped._stopping = lambda: steps.append(stopped.place.task) or steps.count(1) >= 2
    stopped.run()
    assert stopped.place.task == 1
    again = several_labels(name, tmp_path / "stopped")
    again.predictions = Predictions.load(again.predictions_path)
    again.resume()
    again.run()
    assert_same_results(again, whole)
    scores = whole.predictions.scores[-1]["audio_visual"]
    is_label = whole.clips.targets[whole.test]
    assert scores[is_label].mean() > scores[~is_label].mean() + 0.1


@pytest.mark.parametrize("name", NAMES)
def test_tasks_of_one_class_with_one_clip_each(name):
    loop = toy_loop(
        name,
        options={"training": {"num_epochs": 2, "batch_size": 8}},
        memory="3",
        num_classes=3,
        num_tasks=3,
        per_class=2,
    )
    label = loop.clips.targets.argmax(axis=1)
    loop.train = np.array([np.flatnonzero(label == c)[0] for c in range(3)])
    loop.run()
    assert len(loop.memory.indices) == 3
    for value in loop.method.state_dict().values():
        assert torch.isfinite(value).all()
