"""What is computed once for each clip, instead of in every step, changes no result."""

import numpy as np
import pytest

from cign.data.batches import ArraySource, MeanTokens
from cign.methods import METHODS, old_outputs
from toy import quick_options, toy_loop, toy_tokens

TEACHERS = {
    "lwf": ({}, "0"),
    "icarl": ({}, "12"),
    "bic": ({}, "12"),
    "ssil": ({}, "12"),
    "podnet": ({}, "12"),
    "av_cil": ({}, "12"),
    "cign_replay": ({}, "12"),
    "cign": ({"token_distillation": "transformed"}, "0"),
}


def scores(loop):
    loop.run()
    return [part for scored in loop.predictions.scores for part in scored.values()]


@pytest.mark.parametrize("name", TEACHERS)
def test_outputs_of_the_old_model_are_those_of_each_batch(name, monkeypatch):
    options, memory = TEACHERS[name]
    # Adam would turn a difference in rounding into a step of full size where gradients are near 0.
    options = quick_options(name, {"optimizer": "sgd"}, **options)
    once = scores(toy_loop(name, options=options, memory=memory, num_tasks=3))
    monkeypatch.setattr(old_outputs, "MOST_BYTES", 0)
    each = scores(toy_loop(name, options=options, memory=memory, num_tasks=3))
    for a, b in zip(once, each, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_old_model_sees_each_clip_of_a_task_once(monkeypatch):
    often = quick_options("lwf", {"num_epochs": 5, "batch_size": 4})
    loop = toy_loop("lwf", options=often, num_tasks=2)
    seen = []
    compute = loop.method.old_outputs._compute

    def counting(batch):
        seen.extend(batch.indices.tolist())
        return compute(batch)

    loop.method.old_outputs._compute = counting
    loop.run()
    second = loop.clips.of_task(loop.train, 1).tolist()
    # The first batch, which tells the size of the outputs, and each clip of the task.
    assert len(seen) == 4 + len(second)
    assert sorted(seen[4:]) == second


@pytest.mark.parametrize(("name", "memory"), [("finetune", "0"), ("icarl", "12"), ("ewc", "0")])
def test_linear_heads_learn_the_same_from_means(name, memory):
    options = quick_options(name)
    whole = toy_loop(name, options=options, memory=memory)
    assert whole.method.needs_only_means
    means = toy_loop(name, options=options, memory=memory)
    means.source = MeanTokens(means.source)
    for a, b in zip(scores(whole), scores(means), strict=True):
        np.testing.assert_array_equal(a, b)


def test_means_are_computed_once_for_each_clip():
    _, audio, visual = toy_tokens()
    read = []

    def reading(indices):
        read.extend(indices.tolist())
        return audio[indices]

    source = MeanTokens(ArraySource(reading, lambda i: visual[i], 8))
    rng = np.random.default_rng(0)
    for size in (1, 3, 30, 7, 60):
        indices = rng.integers(0, len(audio), size)
        for found, tokens in zip(source.read(indices), (audio, visual), strict=True):
            expected = tokens[indices].astype(np.float64).mean(axis=1, keepdims=True)
            np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-6)
    assert len(read) == len(set(read))


@pytest.mark.parametrize("name", ["av_cil", "cign", "cign_replay", "cign_analytic"])
def test_methods_that_use_single_tokens_do_not_take_means(name):
    assert name in METHODS
    memory = "12" if name in ("av_cil", "cign_replay") else "0"
    loop = toy_loop(name, options=quick_options(name), memory=memory)
    assert not loop.method.needs_only_means
