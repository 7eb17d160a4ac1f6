"""Gradients reach every trainable parameter and none of the frozen ones."""

import pytest
import torch

from cign.data.batches import cut
from cign.methods import METHODS
from cign.methods.base import Batch, GradientMethod
from cign.methods.phases import Phase, TrainingOptions
from toy import SHAPE, toy_method

# Every method that learns by gradient.
LEARNED = [name for name, method in METHODS.items() if issubclass(method, GradientMethod)]
# For each switch of `cign`, what must be frozen once a second task has begun.
SWITCHES = {
    "default": {},
    "hard": {"assignment": "hard"},
    "frozen": {"old_tokens": "frozen"},
    "transformed": {"token_distillation": "transformed"},
    "none": {"token_distillation": "none"},
    "new negatives": {"negatives": "new"},
    "all audio tokens": {"pool_audio": False},
    "without grouping": {"grouping": False},
    "token mixing": {"token_mixing": True},
}
CASES = [(name, {}) for name in LEARNED] + [("cign", value) for value in SWITCHES.values()]
CASES.append(("finetune", {"trunk": "transformer"}))
CASES += [("podnet", {"num_heads": 2}), ("podnet", {"trunk": "linear"})]
CASES += [("av_cil", {"trunk": "transformer", "num_heads": 2})]
CASES += [("icarl", {"trunk": "transformer"}), ("lwf", {"form": "sigmoid"})]
CASES += [("cign_replay", {"distillation_weight": 0.0}), ("l2p", {"pooled": "tokens"})]


def batch_of(num_classes, num_old=0):
    torch.manual_seed(0)
    size = 2 * num_classes
    labels = torch.arange(size) % num_classes
    return Batch(
        audio=torch.randn(size, SHAPE.num_audio_tokens, SHAPE.audio_dim),
        visual=torch.randn(size, SHAPE.num_visual_tokens, SHAPE.visual_dim),
        targets=torch.eye(num_classes)[labels].bool(),
        from_memory=labels < num_old,
        indices=cut(labels.numpy(), size)[0],
    )


def phase():
    return Phase(
        name="train", indices=cut(torch.arange(4).numpy(), 4)[0], options=TrainingOptions()
    )


def gradients(method, batch):
    method.train()
    for parameter in method.parameters():
        parameter.grad = None
    losses = method.learn(batch, phase())
    torch.stack(list(losses.values())).sum().backward()
    return {n: p.grad for n, p in method.named_parameters() if p.grad is not None and p.grad.any()}


@pytest.mark.parametrize(("name", "options"), CASES)
def test_every_trainable_parameter_and_no_other_gets_a_gradient(name, options):
    method = toy_method(name, options)
    method.grow(3)
    method.grow(2)
    for parameter in method.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.3)  # class tokens start at zero
    reached = gradients(method, batch_of(5, num_old=3))
    trainable = {n for n, p in method.named_parameters() if p.requires_grad}
    # A bias on keys shifts all of a query's scores alike: the soft-max cannot see it.
    blind = {n for n in trainable if n.endswith(("grouping.query.bias",))}
    # The bias layer of bic is fitted in a phase of its own: tests/methods/test_bic.py.
    blind |= {n for n in trainable if n.startswith("bias.")}
    missed = trainable - set(reached) - blind
    if options.get("pool_audio", True) and name.startswith("cign"):
        # One pooled audio feature: cross-attention has one key, so its query has no effect.
        missed = {
            n for n in missed if not n.startswith("network.audio.grouping.cross.attention.query")
        }
    assert not missed
    assert not set(reached) - trainable


def test_frozen_old_tokens_stay_and_new_ones_learn():
    method = toy_method("cign", {"old_tokens": "frozen"})
    method.grow(3)
    method.grow(2)
    reached = gradients(method, batch_of(5))
    assert "network.tokens.chunks.0" not in reached
    assert "network.tokens.chunks.1" in reached


@pytest.mark.parametrize(
    ("options", "reached", "not_reached"),
    [
        # KL on raw tokens: the head and, while they are trainable, the old tokens; nothing that
        # a prediction is made of besides.
        (
            {},
            ["network.token_head", "network.tokens.chunks.0"],
            ["network.visual", "network.audio"],
        ),
        (
            {"old_tokens": "frozen"},
            ["network.token_head"],
            ["network.tokens", "network.visual", "network.audio"],
        ),
        # KL on transformed tokens: the transformers too, but not the grouping after them.
        (
            {"token_distillation": "transformed"},
            ["network.token_head", "network.tokens.chunks.0", "network.visual.transformer"],
            ["network.visual.grouping", "network.audio.head"],
        ),
    ],
)
def test_what_each_form_of_token_distillation_reaches(options, reached, not_reached):
    method = toy_method("cign", options)
    method.grow(3)
    method.grow(2)
    for parameter in method.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.3)
    method.train()
    method.learn(batch_of(5), phase())["distillation"].backward()
    names = {n for n, p in method.named_parameters() if p.grad is not None and p.grad.any()}
    for prefix in reached:
        assert any(name.startswith(prefix) for name in names), prefix
    for prefix in not_reached:
        assert not any(name.startswith(prefix) for name in names), prefix
