"""AV-CIL: what reads guided features, the losses' reach, the attention, saving."""

import dataclasses
import math

import pytest
import torch

from cign.losses.separated import separated_cross_entropy
from cign.metrics.incremental import summarise
from refusals import input_error
from test_gradients import batch_of, phase
from toy import toy_loop, toy_method

LINEAR = {"training": {"num_epochs": 12, "batch_size": 16, "learning_rate": 1e-2}}


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


def grown(options=None):
    method = toy_method("av_cil", options)
    method.grow(3)
    method.grow(2)
    return method


def test_attention_and_guided_features_by_hand():
    network, batch = toy_method("av_cil").network, batch_of(2)
    network.requires_grad_(False)
    got = network.read(batch.audio, batch.visual)
    u, v = network.audio_projection.weight, network.visual_projection.weight
    for b in range(len(batch.audio)):
        norm = lambda x: (x - x.mean()) / (x.var(correction=0) + 1e-5).sqrt()  # noqa: E731
        heard = torch.tanh(u @ norm(batch.audio[b].mean(dim=0)))
        scores = [
            float(heard @ torch.tanh(v @ norm(token))) / math.sqrt(len(heard))
            for token in batch.visual[b]
        ]
        total = sum(math.exp(s) for s in scores)
        weights = torch.tensor([math.exp(s) / total for s in scores])
        torch.testing.assert_close(got.log_attention[b].exp(), weights, rtol=1e-4, atol=1e-6)
        guided = norm((weights[:, None] * batch.visual[b]).sum(dim=0))
        expected = torch.cat([norm(batch.audio[b].mean(dim=0)), guided])
        torch.testing.assert_close(got.features["audio_visual"][b], expected, rtol=1e-3, atol=1e-4)


def test_only_the_fused_reading_depends_on_both_modalities():
    for options in (LINEAR, {**LINEAR, "trunk": "transformer", "depth": 1, "num_heads": 2}):
        method, batch = grown(options).eval(), batch_of(5)
        with torch.no_grad():
            base = method.predict(batch.audio, batch.visual).probabilities
            heard = method.predict(batch.audio.flip(0), batch.visual).probabilities
            seen = method.predict(batch.audio, batch.visual.flip(0)).probabilities
        assert torch.equal(base["visual"], heard["visual"])
        assert torch.equal(base["audio"], seen["audio"])
        for other in (heard, seen):
            assert not torch.allclose(base["audio_visual"], other["audio_visual"])


def test_the_parts_of_the_loss_have_their_weights():
    batch = batch_of(5, num_old=3)
    one = grown({"instance_weight": 1.0, "class_weight": 1.0})
    other = grown({"instance_weight": 0.5, "class_weight": 0.0, "logit_weight": 0.0})
    a, b = one.learn(batch, phase()), other.learn(batch, phase())
    assert b["instance"].item() == pytest.approx(0.5 * a["instance"].item(), rel=1e-6)
    assert b["class"].item() == 0.0
    assert "audio_distillation" in a
    assert "audio_distillation" not in b
    logits = one.network(batch.audio, batch.visual)
    for modality, value in logits.items():
        expected = separated_cross_entropy(value, batch.targets, 3)
        torch.testing.assert_close(a[modality], expected)


def test_constraints_and_attention_reach_the_projections_and_no_head():
    method, batch = grown(), batch_of(5, num_old=3)
    with torch.no_grad():
        method.network.audio_projection.weight.add_(0.5)
    for name in ("instance", "class", "attention"):
        method.zero_grad()
        method.learn(batch, phase())[name].backward()
        reached = {n for n, p in method.named_parameters() if p.grad is not None and p.grad.any()}
        assert reached == {"network.audio_projection.weight", "network.visual_projection.weight"}


def test_attention_is_distilled_on_the_clips_that_are_asked_for():
    batch = batch_of(5, num_old=3)
    none = dataclasses.replace(batch, from_memory=torch.zeros_like(batch.from_memory))
    for clips, expected in (("all", True), ("memory", False)):
        method = grown({"attention_clips": clips})
        with torch.no_grad():
            method.network.visual_projection.weight.mul_(3.0)
        assert bool(method.learn(none, phase())["attention"] > 1e-6) is expected
        assert method.learn(batch, phase())["attention"] > 1e-6


def test_wrong_options_are_refused():
    with input_error("bad-value", "similarity_temperature"):
        toy_method("av_cil", {"similarity_temperature": 0.0})
    with input_error("unknown-name", "attention_clips"):
        toy_method("av_cil", {"attention_clips": "old"})


def test_constraints_bring_sound_and_picture_of_a_class_together():
    aligned = []
    for weight in (0.0, 1.0):
        options = {**LINEAR, "instance_weight": 0.0, "class_weight": weight}
        loop = toy_loop("av_cil", options=options, memory="12")
        loop.run()
        audio, visual = loop.source.read(loop.test)
        with torch.no_grad():
            out = loop.method.eval().network.read(audio, visual)
        cosines = torch.nn.functional.cosine_similarity(out.audio[:, None], out.visual[None], dim=2)
        labels = torch.from_numpy(loop.clips.class_of(loop.test))
        same = labels[:, None] == labels[None]
        aligned.append(float(cosines[same].mean() - cosines[~same].mean()))
    assert abs(aligned[0]) < 0.25
    assert aligned[1] > aligned[0] + 0.4


def test_it_forgets_less_than_fine_tuning_and_reloads_to_the_same_scores():
    ours = toy_loop("av_cil", options=LINEAR, memory="12", per_class=24)
    ours.run()
    plain = toy_loop("finetune", options=LINEAR, per_class=24)
    plain.run()
    a, b = summarise(ours.predictions)["audio"], summarise(plain.predictions)["audio"]
    assert a["last"] > b["last"] + 10
    assert a["forgetting"] < b["forgetting"] - 20
    again = toy_method("av_cil", LINEAR)
    for size in ours.method.class_counts:
        again.grow(size)
    again.load_state_dict(ours.method.state_dict())
    batch = batch_of(6)
    with torch.no_grad():
        expected = ours.method.eval().predict(batch.audio, batch.visual).probabilities
        for modality, value in (
            again.eval().predict(batch.audio, batch.visual).probabilities.items()
        ):
            assert torch.equal(value, expected[modality])
