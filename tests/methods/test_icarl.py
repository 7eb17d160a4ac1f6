"""iCaRL: class means of the exemplars, nearest-mean answers, its loss."""

import numpy as np
import pytest
import torch
from sklearn.metrics import pairwise_distances_argmin

from cign.methods.icarl import nearest_mean_scores
from cign.metrics.incremental import summarise
from refusals import input_error
from test_gradients import batch_of, phase
from toy import toy_loop, toy_method

TRAIN = {"training": {"num_epochs": 4, "batch_size": 8, "learning_rate": 1e-2}}
TRUNK = {**TRAIN, "trunk": "transformer", "depth": 1, "num_heads": 2, "drop_path": 0.0}
MODALITIES = ("audio", "visual", "audio_visual")


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def features_of(loop, clips, modality):
    """L2-normalised features in NumPy, float64."""
    audio, visual = loop.source.read(clips)
    with torch.no_grad():
        features = loop.method.network.eval().features(audio, visual)[modality]
    return unit(features.double().numpy())


@pytest.fixture(scope="module")
def learned():
    torch.set_num_threads(1)
    loop = toy_loop("icarl", options=TRUNK, memory="18")
    loop.run()
    return loop


@pytest.mark.parametrize("modality", MODALITIES)
def test_means_are_those_of_the_exemplars_after_the_memory_changed(learned, modality):
    means = learned.method.means(modality).double().numpy()
    assert len(means) == 6
    assert {c: len(clips) for c, clips in learned.memory.by_class.items()} == dict.fromkeys(
        range(6), 3
    )
    for c, clips in learned.memory.by_class.items():
        expected = unit(features_of(learned, clips, modality).mean(axis=0))
        np.testing.assert_allclose(means[c], expected, atol=1e-5)


@pytest.mark.parametrize("modality", MODALITIES)
def test_answers_are_the_nearest_mean(learned, modality):
    """Against scikit-learn's nearest point, and scores against NumPy."""
    clips, means = learned.test, learned.method.means(modality).double().numpy()
    x = features_of(learned, clips, modality)
    scores = learned.predictions.scores[-1][modality]
    assert np.array_equal(scores.argmax(axis=1), pairwise_distances_argmin(x, means))
    np.testing.assert_allclose(scores.sum(axis=1), 1, rtol=1e-5)
    distances = ((x[:, None] - means[None]) ** 2).sum(axis=-1)
    weights = np.exp(-distances / 0.1)
    np.testing.assert_allclose(scores, weights / weights.sum(axis=1, keepdims=True), atol=1e-4)


def test_a_class_without_exemplars_gets_no_probability():
    means = torch.nn.functional.normalize(torch.randn(3, 4), dim=-1)
    means[1] = 0
    scores = nearest_mean_scores(-means[:1] - means[2:], means, 0.1)
    assert scores[0, 1] == 0
    assert scores.isfinite().all()


def test_loss_at_the_second_task_against_loops():
    method, batch = toy_method("icarl", TRUNK), batch_of(5, num_old=3)
    method.grow(3)
    method.grow(2)
    for parameter in method.network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    losses = method.eval().learn(batch, phase())
    now = method.network(batch.audio, batch.visual)["audio"].detach().double()
    old = method.teacher.frozen(batch.audio, batch.visual)["audio"].double()
    total = 0.0
    for b in range(len(now)):
        for c in range(5):
            g = 1 / (1 + np.exp(-now[b, c].item()))
            q = 1 / (1 + np.exp(-old[b, c].item())) if c < 3 else float(batch.targets[b, c])
            total -= q * np.log(g) + (1 - q) * np.log(1 - g)
    assert losses["audio"].item() == pytest.approx(total / now.numel(), rel=1e-5)


def test_beats_finetune_with_the_same_memory():
    last = {}
    for name in ("finetune", "icarl"):
        loop = toy_loop(
            name, options=TRAIN, memory="16", per_class=30, noise=2.0, num_classes=8, num_tasks=4
        )
        loop.run()
        last[name] = summarise(loop.predictions)["visual"]["last"]
    assert last["icarl"] > last["finetune"] + 5


def test_several_labels_and_a_senseless_scale_are_refused():
    with input_error("unsupported", "icarl"):
        toy_method("icarl", {}, multi_label=True)
    with input_error("bad-value", "distance_scale", "0.0"):
        toy_method("icarl", {"distance_scale": 0.0})
