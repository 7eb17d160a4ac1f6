"""SS-IL: batches, separation, what is refused, saving."""

import pytest
import torch

from cign.learner import Learner
from cign.methods import method_class
from cign.metrics.incremental import summarise
from refusals import input_error
from test_gradients import batch_of, phase
from toy import toy_loop, toy_method

LINEAR = {"training": {"num_epochs": 15, "batch_size": 10, "learning_rate": 1e-2}}


def test_every_batch_holds_the_fixed_share_of_old_clips(monkeypatch):
    seen = []
    cls = method_class("ssil")
    learn = cls.learn

    def spy(self, batch, phase):
        seen.append((len(self.class_counts), len(batch.labels), int(batch.from_memory.sum())))
        return learn(self, batch, phase)

    monkeypatch.setattr(cls, "learn", spy)
    toy_loop("ssil", options=LINEAR, memory="12").run()
    first = {old for task, _, old in seen if task == 1}
    later = [(size, old) for task, size, old in seen if task > 1]
    assert first == {0}
    # A fifth of 10 clips; 16 new clips make two batches of 8.
    assert set(later) == {(10, 2)}


def test_new_clips_leave_the_old_classes_heads_to_the_distillation():
    method = toy_method("ssil", {"distillation_weight": 0.0})
    method.grow(3)
    method.grow(2)
    batch = batch_of(5, num_old=3)
    new = torch.where(~batch.from_memory)[0]
    only_new = type(batch)(
        audio=batch.audio[new],
        visual=batch.visual[new],
        targets=batch.targets[new],
        from_memory=batch.from_memory[new],
        indices=batch.indices[: len(new)],
    )
    losses = method.learn(only_new, phase())
    torch.stack([losses[r] for r in ("audio", "visual", "audio_visual")]).sum().backward()
    for head in method.network.heads.values():
        assert not head.weights[0].grad.any()
        assert head.weights[1].grad.all()


def test_it_forgets_less_than_fine_tuning():
    ours = toy_loop("ssil", options=LINEAR, memory="12", per_class=24)
    ours.run()
    plain = toy_loop("finetune", options=LINEAR, per_class=24)
    plain.run()
    a, b = summarise(ours.predictions)["audio"], summarise(plain.predictions)["audio"]
    assert a["last"] > b["last"] + 10
    assert a["forgetting"] < b["forgetting"] - 20


def test_saved_and_loaded_it_predicts_the_same():
    loop = toy_loop("ssil", options=LINEAR, memory="12")
    loop.run()
    other = toy_method("ssil", LINEAR)
    for size in loop.method.class_counts:
        other.grow(size)
    other.load_state_dict(loop.method.state_dict())
    batch = batch_of(6)
    with torch.no_grad():
        for method in (other.eval(), loop.method.eval()):
            method.scores = method.predict(batch.audio, batch.visual).probabilities
    for modality, value in other.scores.items():
        assert torch.equal(value, loop.method.scores[modality])


@pytest.mark.parametrize("name", ["ssil", "podnet", "av_cil"])
def test_clips_of_several_labels_are_refused(name):
    with input_error("unsupported", name, "one label"):
        toy_method(name, multi_label=True)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5])
def test_a_share_that_leaves_out_one_side_is_refused(share):
    with input_error("bad-value", "old_share"):
        toy_method("ssil", {"old_share": share})


@pytest.mark.parametrize("name", ["ssil", "podnet", "av_cil"])
def test_a_run_without_a_memory_is_refused_before_it_begins(name, tiny, tmp_path):
    with input_error("missing-option", name, "--memory"):
        Learner(name).learn(tiny[1], tasks=2, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
