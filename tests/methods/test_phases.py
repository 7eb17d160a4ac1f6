"""Phases: their batches, and which parameters they train."""

import dataclasses

import numpy as np
import pytest
import torch

from cign.data.batches import cut
from cign.methods.finetune import Finetune
from cign.methods.phases import Phase, TrainingOptions, make_optimizer, set_learning_rate
from cign.utils.seeding import stream
from refusals import input_error
from toy import toy_loop


def phase(num_clips, batch_size, **kwargs):
    options = TrainingOptions(num_epochs=1, batch_size=batch_size)
    return Phase(name="x", indices=np.arange(num_clips), options=options, **kwargs)


def test_without_replay_a_pass_is_a_permutation_cut_into_batches():
    expected = cut(stream(4, 2).permutation(np.arange(21)), 5)
    got = phase(21, 5).batches(stream(4, 2))
    assert [b.tolist() for b in got] == [b.tolist() for b in expected]
    assert len(got) == phase(21, 5).steps_per_epoch == 4


def test_replay_joins_each_batch_in_a_fixed_number_and_evenly():
    replay = np.arange(100, 107)
    made = phase(23, 6, replay=replay, num_replay=3)
    batches = made.batches(stream(1))
    assert len(batches) == made.steps_per_epoch == 4
    assert [int((b >= 100).sum()) for b in batches] == [3, 3, 3, 3]
    new = np.concatenate([b[b < 100] for b in batches])
    assert sorted(new) == list(range(23))
    old = np.concatenate([b[b >= 100] for b in batches])
    counts = np.array([(old == clip).sum() for clip in replay])
    assert counts.max() - counts.min() == 1
    again = made.batches(stream(1))
    assert all(np.array_equal(a, b) for a, b in zip(batches, again, strict=True))
    other = made.batches(stream(2))
    assert not all(np.array_equal(a, b) for a, b in zip(batches, other, strict=True))


def test_fewer_exemplars_than_a_batch_takes_come_more_than_once():
    batches = phase(8, 4, replay=np.array([50, 51]), num_replay=5).batches(stream(0))
    for batch in batches:
        assert (batch >= 50).sum() == 5
    assert phase(8, 4, num_replay=5).batches(stream(0))[0].shape == (4,)  # nothing to replay


def test_only_the_named_parameters_are_trained(monkeypatch):
    make = Finetune.phases

    def phases(self, data):
        trained = ("network.heads.audio.", "network.heads.visual.biases")
        return [dataclasses.replace(phase, trained=trained) for phase in make(self, data)]

    monkeypatch.setattr(Finetune, "phases", phases)
    torch.set_num_threads(1)
    loop = toy_loop("finetune", num_tasks=1)
    torch.manual_seed(0)
    loop.run()
    monkeypatch.setattr(Finetune, "learn", lambda self, batch, phase: None)
    before = toy_loop("finetune", num_tasks=1)
    before.run()
    learned = loop.method.state_dict()
    changed = {
        name
        for name, value in before.method.state_dict().items()
        if not torch.equal(value, learned[name])
    }
    assert changed == {
        "network.heads.audio.weights.0",
        "network.heads.audio.biases.0",
        "network.heads.visual.biases.0",
    }


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_encoders_take_their_share_of_the_learning_rate(optimizer):
    def stepped(share):
        torch.manual_seed(0)
        network = torch.nn.ModuleDict({n: torch.nn.Linear(3, 3) for n in ("backbone", "head")})
        before = {name: weight.detach().clone() for name, weight in network.named_parameters()}
        options = TrainingOptions(optimizer=optimizer, encoder_rate=share)
        made = make_optimizer(network.named_parameters(), options)
        set_learning_rate(made, 0.25)
        for weight in network.parameters():
            weight.grad = torch.ones_like(weight)
        made.step()
        after = dict(network.named_parameters())
        return {name: (after[name] - before[name]).detach() for name in before}

    alone, slowed = stepped(1.0), stepped(0.125)
    assert all(moved.abs().min() > 0.1 for moved in alone.values())
    for name, moved in slowed.items():
        share = 0.125 if name.startswith("backbone") else 1.0
        torch.testing.assert_close(moved, share * alone[name])


@pytest.mark.parametrize("rate", [0.0, -0.1, float("inf"), float("nan")])
def test_an_encoder_rate_without_meaning_is_refused(rate):
    with input_error("bad-value", "encoder_rate"):
        TrainingOptions(encoder_rate=rate)
