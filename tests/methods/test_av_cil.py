"""AV-CIL: what its losses train, batches, silent clips, what is refused, saving."""

import dataclasses

import pytest
import torch

from av_cil_toy import grown, moved
from cign.methods import method_class
from cign.metrics.incremental import summarise
from cign.vocabulary import MODALITIES
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


def trained_by(method, batch, *losses):
    """Names of the parameters that some losses give a gradient."""
    method.zero_grad()
    found = method.learn(batch, phase())
    torch.stack([found[name] for name in losses]).sum().backward()
    return {
        name.removeprefix("network.").split(".")[0]
        for name, parameter in method.named_parameters()
        if parameter.grad is not None and parameter.grad.any()
    }


def test_projections_are_contrasted_and_classified_and_the_attention_has_its_own():
    method, batch = moved(grown()), batch_of(5, num_old=3)
    projections = {"audio_projection", "visual_projection"}
    attention = {"audio_attention", "visual_attention"}
    assert trained_by(method, batch, "instance") == projections | attention
    assert trained_by(method, batch, "class") == projections | attention
    assert trained_by(method, batch, "attention") == attention
    assert trained_by(method, batch, "audio_visual") == projections | attention | {"heads"}
    assert trained_by(method, batch, "audio") == {"audio_projection", "heads"}
    assert trained_by(method, batch, "visual") == {"visual_projection", "heads"}


def test_first_task_is_learned_by_cross_entropy_alone():
    batch = batch_of(3)
    for start, extra in (("second", set()), ("first", {"instance", "class"})):
        method = toy_method("av_cil", {"constraints_from": start})
        method.grow(3)
        assert set(method.learn(batch, phase())) == {*MODALITIES, *extra}


def test_a_weight_of_zero_removes_a_part():
    batch, zero = batch_of(5, num_old=3), {"class_weight": 0.0, "logit_weight": 0.0}
    losses = moved(grown(zero)).learn(batch, phase())
    assert losses["class"].item() == 0.0
    assert losses["instance"].item() > 0.0
    assert "audio_distillation" not in losses


def batches_of(monkeypatch, memory, **options):
    """Task, size and number of exemplars of each batch of a run."""
    seen, cls = [], method_class("av_cil")
    learn = cls.learn

    def spy(self, batch, phase):
        seen.append((len(self.class_counts), len(batch.labels), int(batch.from_memory.sum())))
        return learn(self, batch, phase)

    monkeypatch.setattr(cls, "learn", spy)
    training = {"num_epochs": 2, "batch_size": 12}
    toy_loop("av_cil", options={"training": training, **options}, memory=memory).run()
    return seen


def test_a_third_of_each_batch_are_exemplars(monkeypatch):
    seen = batches_of(monkeypatch, "12")
    assert {old for task, _, old in seen if task == 1} == {0}
    # 16 new clips make two batches of 8.
    assert {(size, old) for task, size, old in seen if task > 1} == {(12, 4)}


def test_a_batch_has_no_more_exemplars_than_there_are(monkeypatch):
    seen = batches_of(monkeypatch, "6", old_share=0.75)  # the share is nine
    assert {old for task, _, old in seen if task > 1} == {6}


def test_silent_and_single_clips_have_finite_losses_and_gradients():
    method = moved(grown())
    batch = batch_of(5, num_old=3)
    silent = dataclasses.replace(batch, audio=torch.zeros_like(batch.audio))
    dark = dataclasses.replace(silent, visual=torch.zeros_like(batch.visual))
    one = type(batch)(**{k: v if v is None else v[:1] for k, v in vars(batch).items()})
    for clips in (silent, dark, one):
        method.zero_grad()
        losses = method.learn(clips, phase())
        torch.stack(list(losses.values())).sum().backward()
        grads = [p.grad for p in method.parameters() if p.grad is not None]
        assert all(bool(grad.isfinite().all()) for grad in grads)
        assert all(bool(loss.isfinite()) for loss in losses.values())
        with torch.no_grad():
            scores = method.predict(clips.audio, clips.visual).probabilities
        assert all(bool(value.isfinite().all()) for value in scores.values())


def test_wrong_options_are_refused():
    with input_error("bad-value", "similarity_temperature"):
        toy_method("av_cil", {"similarity_temperature": 0.0})
    with input_error("unknown-name", "class_mean"):
        toy_method("av_cil", {"class_mean": "clips"})
    with input_error("unknown-name", "constraints_from"):
        toy_method("av_cil", {"constraints_from": "third"})
    for share in (-0.1, 1.5):
        with input_error("bad-value", "spatial_share"):
            toy_method("av_cil", {"spatial_share": share})
    for share in (0.0, 1.0):
        with input_error("bad-value", "av_cil", "old_share"):
            toy_method("av_cil", {"old_share": share})


def test_constraints_bring_sound_and_picture_of_a_class_together():
    aligned = []
    for weight in (0.0, 1.0):
        options = {**LINEAR, "instance_weight": 0.0, "class_weight": weight}
        if weight:
            options |= {"class_mean": "positives", "similarity_temperature": 0.1}
        loop = toy_loop("av_cil", options=options, memory="12")
        loop.run()
        audio, visual = loop.source.read(loop.test)
        with torch.no_grad():
            out = loop.method.eval().network.read(audio, visual)
        cosines = torch.nn.functional.cosine_similarity(
            out.features["audio"][:, None], out.guided[None], dim=2
        )
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
