"""l2p and dualprompt: what they read and train, and that clips do not answer for each other."""

import dataclasses

import numpy as np
import pytest
import torch

from cign.errors import InputError
from cign.methods.base import Batch, Setup
from cign.methods.phases import Phase, TrainingOptions
from cign.metrics.incremental import summarise
from cign.utils.options import builtin_recipe
from cign.vocabulary import MODALITIES
from refusals import input_error
from toy import SHAPE, toy_loop, toy_method, toy_tokens

NAMES = ("l2p", "dualprompt")
TRAINING = {"num_epochs": 10, "batch_size": 8, "learning_rate": 0.02}


# Prompts' outputs of random blocks say little of a clip; with those of its tokens l2p learns well.
LEARNED = {"l2p": {"training": TRAINING, "pooled": "tokens"}, "dualprompt": {"training": TRAINING}}


@pytest.fixture(scope="module", params=NAMES)
def learned(request):
    """A loop after three tasks, and its method in evaluation mode."""
    torch.set_num_threads(1)
    loop = toy_loop(request.param, options=LEARNED[request.param])
    loop.run()
    loop.method.eval()
    return loop


def tokens():
    labels, audio, visual = toy_tokens()
    return labels, torch.from_numpy(audio), torch.from_numpy(visual)


def batch(labels, num_classes, old=0):
    _, audio, visual = tokens()
    chosen = np.flatnonzero(np.isin(tokens()[0], labels))
    targets = torch.eye(num_classes)[tokens()[0][chosen]].bool()
    return Batch(
        audio=audio[chosen],
        visual=visual[chosen],
        targets=targets,
        from_memory=torch.zeros(len(chosen), dtype=torch.bool),
        indices=chosen,
    )


def phase():
    return Phase(name="train", indices=np.arange(4), options=TrainingOptions())


# ------------------------------------------------------------------ trap 1: votes over a batch


@torch.inference_mode()
def test_scores_do_not_depend_on_batch_size(learned):
    _, audio, visual = tokens()
    together = learned.method.predict(audio, visual).probabilities
    singly = [
        learned.method.predict(a[None], v[None]).probabilities
        for a, v in zip(audio, visual, strict=True)
    ]
    for modality in MODALITIES:
        alone = torch.cat([scores[modality] for scores in singly])
        torch.testing.assert_close(together[modality], alone, rtol=1e-5, atol=1e-6)


@torch.inference_mode()
def test_scores_do_not_depend_on_test_order(learned):
    _, audio, visual = tokens()
    order = torch.randperm(len(audio), generator=torch.Generator().manual_seed(0))
    method = learned.method
    expected, got = (
        method.predict(audio, visual).probabilities,
        method.predict(audio[order], visual[order]).probabilities,
    )
    for modality in MODALITIES:
        torch.testing.assert_close(got[modality], expected[modality][order], rtol=1e-5, atol=1e-6)


@torch.inference_mode()
def test_clips_of_a_batch_choose_differently(learned):
    """Else the two tests above would hold for a vote over the batch as well."""
    _, audio, visual = tokens()
    method = learned.method
    for modality, given in (("audio", audio), ("visual", visual)):
        query = method.query(modality, given.float())
        if method.name == "l2p":
            chosen = method.pools[modality].choose(query, 4).sort(dim=1).values
        else:
            chosen = method.of(modality).choose(query)
        assert len(torch.unique(chosen, dim=0)) > 1


# --------------------------------------------------------------------- what is trained


@pytest.mark.parametrize("name", NAMES)
def test_old_outputs_are_left_out_as_if_masked_by_minus_infinity(name):
    method = toy_method(name)
    method.grow(2)
    method.grow(4)
    some = batch([2, 3, 4, 5], 6)
    losses = method.train().learn(some, phase())
    features, _ = method.features(some.audio, some.visual)
    for modality in MODALITIES:
        logits = method.head(modality)(features[modality])
        logits = logits.masked_fill(torch.arange(6) < 2, -torch.inf).double()
        rows = np.arange(len(logits)), some.labels
        expected = (torch.logsumexp(logits, dim=1) - logits[rows]).mean()
        torch.testing.assert_close(losses[modality].double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_a_task_changes_neither_blocks_nor_what_belongs_to_earlier_tasks(name):
    weight_decay = {**TRAINING, "num_epochs": 2, "optimizer": "adamw", "weight_decay": 0.1}
    loop = toy_loop(name, options={"training": weight_decay})
    states = []
    loop.after_task = lambda: states.append(
        {key: value.clone() for key, value in loop.method.state_dict().items()}
    )
    blocks = {key: value.clone() for key, value in loop.method.blocks.state_dict().items()}
    loop.run()
    before, after = states[0], states[2]
    for key, value in blocks.items():
        assert torch.equal(after[f"blocks.{key}"], value)
    old = [key for key in before if key.endswith(".0") and not key.startswith("blocks")]
    assert len(old) == (6 if name == "l2p" else 6 + 4)  # heads; experts and keys
    assert all(torch.equal(before[key], after[key]) for key in old)
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    shared = {"l2p": "pools", "dualprompt": "general"}[name]
    assert changed
    assert all(shared in key for key in changed)


def test_dualprompt_trains_the_tasks_expert_and_predicts_with_each_clips_nearest():
    method = toy_method("dualprompt")
    for _ in range(3):
        method.grow(2)
    asked = []
    for modality in ("audio", "visual"):
        method.of(modality).register_forward_hook(lambda _, given, __: asked.append(given[0]))
    some = batch([4, 5], 6)
    method.train().learn(some, phase())
    assert all(expert.tolist() == [2] * len(some.audio) for expert in asked)
    asked.clear()
    method.eval().predict(some.audio, some.visual)
    query = method.query("audio", some.audio.float())
    assert torch.equal(asked[0], method.of("audio").choose(query))


@pytest.mark.parametrize("pooled", ["prompts", "tokens"])
@torch.inference_mode()
def test_l2p_reads_the_mean_of_what_comes_out_at_prompts_or_tokens(pooled):
    method = toy_method("l2p", {"pooled": pooled, "num_chosen": 2, "prompt_length": 3})
    method.grow(6)
    method.eval()
    _, audio, visual = tokens()
    features, _ = method.features(audio[:5], visual[:5])
    pool, blocks = method.pools["audio"], method.blocks.audio
    for b in range(5):
        x = audio[b].float()[None]
        plain = x
        for block in blocks.blocks:
            plain = block(plain)
        query = blocks.norm(plain).mean(dim=1)
        chosen = pool.choose(query, 2)[0]
        x = torch.cat([pool.prompts[chosen].flatten(0, 1)[None], x], dim=1)
        for block in blocks.blocks:
            x = block(x)
        out = blocks.norm(x)[0]
        mean = (out[:6] if pooled == "prompts" else out[6:]).mean(dim=0)
        expected = (mean - mean.mean()) / (mean.var(unbiased=False) + 1e-5).sqrt()
        torch.testing.assert_close(features["audio"][b], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
@torch.inference_mode()
def test_readings_of_one_modality_do_not_touch_the_other(name):
    method = toy_method(name)
    method.grow(6)
    method.eval()
    _, audio, visual = tokens()
    plain, other = (
        method.predict(audio, visual).probabilities,
        method.predict(audio, visual.flip(0)).probabilities,
    )
    assert torch.equal(plain["audio"], other["audio"])
    assert not torch.equal(plain["visual"], other["visual"])
    assert not torch.equal(plain["audio_visual"], other["audio_visual"])


# ------------------------------------------------------------------ learning and reloading


def test_learns_and_forgets_less_than_a_transformer_that_learns(learned):
    ours = summarise(learned.predictions)["audio_visual"]
    options = {"training": TRAINING, "trunk": "transformer", "num_heads": 2}
    loop = toy_loop("finetune", options=options)
    loop.run()
    theirs = summarise(loop.predictions)["audio_visual"]
    assert ours["last"] > theirs["last"] + 25
    assert ours["forgetting"] < theirs["forgetting"] - 25


@torch.inference_mode()
def test_loaded_state_predicts_the_same_to_the_bit(learned):
    other = toy_method(learned.method.name, LEARNED[learned.method.name])
    for num_new in learned.method.class_counts:
        other.grow(num_new)
    other.load_state_dict(learned.method.state_dict(), strict=True)
    _, audio, visual = tokens()
    expected = learned.method.predict(audio, visual).probabilities
    for modality, value in other.eval().predict(audio, visual).probabilities.items():
        assert torch.equal(value, expected[modality])


@pytest.mark.parametrize("name", NAMES)
def test_several_labels(name):
    method = toy_method(name, multi_label=True)
    method.grow(2)
    method.grow(2)
    some = batch([2, 3], 4)
    some.targets[:, 0] = True  # a label of an earlier task: of no effect
    losses = method.train().learn(some, phase())
    features, _ = method.features(some.audio, some.visual)
    z = method.head("audio").newest(features["audio"]).detach().double().numpy()
    y = some.targets[:, 2:].numpy()
    expected = -(y * np.log(1 / (1 + np.exp(-z))) + ~y * np.log(1 / (1 + np.exp(z)))).mean()
    np.testing.assert_allclose(losses["audio"].item(), expected, rtol=1e-5)
    scores = method.eval().predict(some.audio, some.visual).probabilities
    assert scores["audio"].shape == (len(some.audio), 4)
    assert not torch.allclose(scores["audio"].sum(dim=1), torch.ones(len(some.audio)))


# ------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("l2p", {"num_chosen": 11}, "num_chosen 11 is more than the pool holds: use at most 10"),
        ("l2p", {"prompt_length": 0}, "prompt_length 0 is too small"),
        ("l2p", {"pooled": "cls"}, "pooled is 'cls': use one of prompts, tokens"),
        ("dualprompt", {"expert_blocks": [2]}, r"expert_blocks \[2\] are not .* from 0 to 1"),
        ("dualprompt", {"expert_blocks": []}, "expert_blocks is empty"),
        ("dualprompt", {"general_length": 0}, "general_length 0 is too small"),
    ],
)
def test_options_that_do_not_fit_are_refused(name, options, message):
    with pytest.raises(InputError, match=message):
        toy_method(name, options)


@pytest.mark.parametrize("name", NAMES)
def test_a_setup_without_blocks_is_refused(name):
    cls = type(toy_method(name))
    with input_error("unsupported", name, "--backbone small-stem"):
        cls(Setup(shape=SHAPE), cls.Options())


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_is_shipped_and_complete(name):
    recipe = builtin_recipe(name)
    fields = {field.name for field in dataclasses.fields(type(toy_method(name)).Options)}
    assert set(recipe.options) == fields
    named = {source.split(".")[0] for source in recipe.sources}
    assert named == fields


# ------------------------------------------------------------- from a store to files and back
