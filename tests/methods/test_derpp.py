"""DER++: its three terms, its two draws, and the logits that it stores."""

import numpy as np
import pytest
import torch

from cign.methods import METHODS
from cign.metrics.incremental import summarise
from cign.networks.stored_logits import StoredLogits
from loops import (
    assert_step,
    batch_of,
    binary_cross_entropy,
    cross_entropy,
    grown,
    phase_of,
)
from toy import toy_loop

TRAIN = {"training": {"num_epochs": 6, "batch_size": 8, "learning_rate": 1e-2}}
OPTIONS = {"alpha": 0.3, "beta": 0.7}
MODALITIES = ("audio", "visual", "audio_visual")


def with_stored(**setup):
    """A method with stored logits of clips 43 to 48, of two known classes or of three."""
    method = grown("derpp", OPTIONS, **setup)
    torch.manual_seed(8)
    early, late = np.array([43, 46, 47]), np.array([44, 45, 48])
    method.stored.update(early, early, torch.randn(3, 3, 2))
    method.stored.update(np.arange(43, 49), late, torch.randn(3, 3, 3))
    known = dict(zip(range(43, 49), [2, 3, 3, 2, 2, 3], strict=True))
    return method, known


@pytest.mark.parametrize("multi_label", [False, True])
def test_the_step_of_algorithm_2(multi_label):
    method, known = with_stored(multi_label=multi_label)
    # Three new clips, then six exemplars that belong to the two draws in turn, by position.
    several = [(1, 0), (5, 2)] if multi_label else []
    batch = batch_of([3, 4, 3, 0, 1, 0, 1, 1, 2], several=several)
    first, second = (4, 6, 8), (3, 5, 7)
    stored = {int(c): row.double().numpy() for c, row in zip(*stored_of(method), strict=True)}

    def labels_loss(b, logits):
        targets = batch.targets[b].numpy()
        if multi_label:
            return binary_cross_entropy(logits[b], targets, range(5))
        return cross_entropy(logits[b], int(targets.argmax()), range(5))

    def expected(modality, logits):
        head = MODALITIES.index(modality)
        terms = {"": 0.0, "_logits": 0.0, "_replay": 0.0}
        gradient = np.zeros_like(logits)
        for b in range(3):
            value, of_clip = labels_loss(b, logits)
            terms[""] += value / 3
            gradient[b] = of_clip / 3
        for b in first:
            clip = int(batch.indices[b])
            for c in range(known[clip]):  # mean over the classes that were known
                apart = logits[b, c] - stored[clip][head, c]
                terms["_logits"] += 0.3 * apart**2 / known[clip] / 3
                gradient[b, c] += 0.3 * 2 * apart / known[clip] / 3
        for b in second:
            value, of_clip = labels_loss(b, logits)
            terms["_replay"] += 0.7 * value / 3
            gradient[b] += 0.7 * of_clip / 3
        return terms, gradient

    assert_step(method, batch, phase_of(3, 6), expected)


def stored_of(method):
    return method.stored.clips, method.stored.logits


def test_an_exemplar_keeps_the_logits_of_the_model_after_its_own_task():
    loop = toy_loop("derpp", options=TRAIN, memory="12")
    reference, kept = {}, []

    def note():
        method = loop.method.eval()
        memory = loop.memory.indices
        with torch.no_grad():
            now = method.network(*loop.source.read(np.sort(memory)))
        for i, clip in enumerate(np.sort(memory)):
            row = torch.stack([now[modality][i] for modality in MODALITIES])
            reference.setdefault(int(clip), row)
        kept.append(set(memory.tolist()))
        stored = method.stored
        assert stored.clips.tolist() == np.sort(memory).tolist()
        assert method.state_bytes == 8 * 12 + 8 * 12 + 4 * 12 * 3 * method.num_classes
        counted = loop.clips.task_of_clip[stored.clips.numpy()]
        assert stored.num_classes.tolist() == (2 * (counted + 1)).tolist()
        for row, clip in enumerate(stored.clips.tolist()):
            wanted = reference[clip]
            known = wanted.shape[1]
            torch.testing.assert_close(stored.logits[row, :, :known], wanted, rtol=0, atol=1e-5)
            assert not stored.logits[row, :, known:].any()

    loop.after_task = note
    loop.run()
    assert kept[0] & kept[1] & kept[2]
    assert kept[0] - kept[1]


def test_both_draws_have_all_exemplars_in_turn(monkeypatch):
    cls, seen = METHODS["derpp"], [set(), set()]
    learn = cls.learn

    def spy(self, batch, phase):
        if self.num_old:
            _, *draws = self.part_weights(batch, phase)
            for found, weights in zip(seen, draws, strict=True):
                found.update(batch.indices[weights.numpy() > 0].tolist())
        return learn(self, batch, phase)

    monkeypatch.setattr(cls, "learn", spy)
    loop = toy_loop("derpp", options=TRAIN, memory="12", num_tasks=2)
    memory = []
    loop.after_task = lambda: memory.append(set(loop.memory.indices.tolist()))
    loop.run()
    assert seen[0] == seen[1] == memory[0]


def test_an_exemplar_that_comes_back_has_new_logits():
    stored = StoredLogits(1)
    stored.update(np.array([3, 5]), np.array([3, 5]), torch.ones(2, 1, 2))
    stored.update(np.array([5]), np.array([], dtype=np.int64), torch.zeros(0, 1, 4))
    assert stored.clips.tolist() == [5]
    assert stored.missing(np.array([5, 3])).tolist() == [3]
    stored.update(np.array([5, 3]), np.array([3]), torch.full((1, 1, 6), 2.0))
    assert stored.clips.tolist() == [3, 5]
    assert stored.num_classes.tolist() == [6, 2]
    assert stored.logits[:, 0].tolist() == [[2.0] * 6, [1.0] * 2 + [0.0] * 4]
    distances = stored.distances(torch.zeros(3, 6), 0, stored.rows(np.array([5, 3, 5])))
    assert distances.tolist() == [1.0, 4.0, 1.0]


def test_a_model_without_training_state_has_no_stored_logits():
    method, _ = with_stored()
    assert {name for name in method.state_dict() if name.startswith("stored.")}
    method.stored.clear()
    assert not {name for name in method.state_dict() if name.startswith("stored.")}
    assert method.state_bytes == 0


def test_a_larger_alpha_holds_logits_nearer_to_the_stored_ones():
    distances = {}
    for alpha in (0.0, 1.0):
        loop = toy_loop("derpp", options={**TRAIN, "alpha": alpha}, memory="16", num_tasks=2)
        method, data = loop.method, []
        plain = method.after_task

        def measure(task, method=method, plain=plain, loop=loop, found=data):
            if task.num_old:
                audio, visual = loop.source.read(task.memory)
                with torch.no_grad():
                    now = method.network(audio, visual)["audio_visual"]
                rows = method.stored.rows(task.memory)
                found.append(float(method.stored.distances(now, 2, rows).mean()))
            plain(task)

        method.after_task = measure
        loop.run()
        (distances[alpha],) = data
    assert distances[1.0] < 0.5 * distances[0.0]


def test_it_forgets_less_than_fine_tuning():
    found = {}
    for name, memory in (("finetune", "0"), ("derpp", "12")):
        loop = toy_loop(name, options=TRAIN, memory=memory, per_class=24)
        loop.run()
        found[name] = summarise(loop.predictions)["audio_visual"]
    assert found["derpp"]["last"] > found["finetune"]["last"] + 10
    assert found["derpp"]["forgetting"] < found["finetune"]["forgetting"] - 20
