"""One training step of a method with linear heads, from plain loops in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cign.methods.base import Batch
from cign.methods.phases import Phase, TrainingOptions
from cign.vocabulary import MODALITIES
from toy import SHAPE, toy_method

TASK_OF_CLASS = [0, 0, 0, 1, 1]  # of `grown`


def log_softmax(x):
    return x - x.max() - np.log(np.exp(x - x.max()).sum())


def cross_entropy(logits, label, classes):
    """Loss of one clip over some classes, and its gradient by the logits of all classes."""
    classes = list(classes)
    log_p = log_softmax(logits[classes])
    gradient = np.zeros(len(logits))
    for place, c in enumerate(classes):
        gradient[c] = np.exp(log_p[place]) - (c == label)
    return -log_p[classes.index(label)], gradient


def binary_cross_entropy(logits, targets, classes):
    """The same for several labels; mean over the classes."""
    classes = list(classes)
    loss, gradient = 0.0, np.zeros(len(logits))
    for c in classes:
        p = 1.0 / (1.0 + np.exp(-logits[c]))
        loss -= np.log(p) if targets[c] else np.log(1.0 - p)
        gradient[c] = (p - targets[c]) / len(classes)
    return loss / len(classes), gradient


def grown(name, options=None, **setup):
    """A method at its second task, three old and two new classes, with random weights."""
    method = toy_method(name, options, **setup)
    method.grow(3)
    for parameter in method.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    method.grow(2)
    for parameter in method.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.3)
    return method.train()


def batch_of(labels, *, several=()):
    """A batch of clips of `grown`'s classes; clips are numbered from 40, exemplars by their label.

    The last clip is silent: its audio tokens are zero. ``several`` holds (clip, further label).
    """
    torch.manual_seed(4)
    labels = torch.tensor(labels)
    targets = torch.eye(5)[labels].bool()
    for clip, label in several:
        targets[clip, label] = True
    audio = torch.randn(len(labels), SHAPE.num_audio_tokens, SHAPE.audio_dim)
    audio[-1] = 0.0
    latest = torch.tensor(TASK_OF_CLASS) * targets
    return Batch(
        audio=audio,
        visual=torch.randn(len(labels), SHAPE.num_visual_tokens, SHAPE.visual_dim),
        targets=targets,
        from_memory=latest.amax(dim=1) < 1,
        indices=40 + np.arange(len(labels)),
    )


def phase_of(num_new, num_replay=0):
    """A phase with that many new and replayed clips per batch."""
    replay = np.arange(num_replay)
    options = TrainingOptions(batch_size=num_new)
    indices = np.arange(num_new)
    return Phase(
        name="train", indices=indices, options=options, replay=replay, num_replay=num_replay
    )


def assert_step(method, batch, phase, expected):
    """Losses and the gradients of all heads are those of the loops.

    Args:
        method: A method with linear heads on cached tokens.
        batch: Its batch.
        phase: Its phase.
        expected: For a modality and its logits [B, C], the losses by their suffix (``""`` for the
            loss without), and the gradient of their sum by the logits, [B, C].
    """
    losses = method.learn(batch, phase)
    method.zero_grad()
    torch.stack(list(losses.values())).sum().backward()
    with torch.no_grad():
        features = method.network.features(batch.audio, batch.visual)
        logits = method.network.classify(features)
    names = set()
    for modality in MODALITIES:
        terms, gradient = expected(modality, logits[modality].double().numpy())
        for suffix, value in terms.items():
            names.add(modality + suffix)
            assert losses[modality + suffix].item() == pytest.approx(value, rel=1e-5), suffix
        head, x = method.network.heads[modality], features[modality].double().numpy()
        weights = torch.cat([chunk.grad for chunk in head.weights]).numpy()
        biases = torch.cat([chunk.grad for chunk in head.biases]).numpy()
        np.testing.assert_allclose(weights, gradient.T @ x, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(biases, gradient.sum(axis=0), rtol=1e-4, atol=1e-6)
    assert set(losses) == names
