"""WA: its two losses, aligned weights, and clipped weights."""

import numpy as np
import pytest
import torch

from cign.methods.wa import alignment_factor
from cign.metrics.incremental import summarise
from loops import assert_step, batch_of, cross_entropy, grown, log_softmax, phase_of
from refusals import input_error
from toy import toy_loop, toy_method

TRAIN = {"training": {"num_epochs": 6, "batch_size": 8, "learning_rate": 1e-2}}
MODALITIES = ("audio", "visual", "audio_visual")


@pytest.mark.parametrize("labels", [[3, 4, 3, 0, 1, 2], [4], [0]])
def test_the_loss_against_loops(labels):
    method, batch = grown("wa", {"temperature": 3.0}), batch_of(labels)
    share = 3 / 5  # lambda, old over all classes
    with torch.no_grad():
        teacher = method.teacher.frozen(batch.audio, batch.visual)

    def expected(modality, logits):
        old = teacher[modality].double().numpy()
        entropy = distance = 0.0
        gradient = np.zeros_like(logits)
        for b, label in enumerate(labels):
            value, of_clip = cross_entropy(logits[b], label, range(5))
            entropy += value / len(labels)
            gradient[b] += (1 - share) * of_clip / len(labels)
            q, log_p = np.exp(log_softmax(old[b] / 3)), log_softmax(logits[b, :3] / 3)
            distance -= (q * log_p).sum() / len(labels)
            gradient[b, :3] += share * (np.exp(log_p) - q) / 3 / len(labels)
        return {"": (1 - share) * entropy, "_distillation": share * distance}, gradient

    assert_step(method, batch, phase_of(len(labels)), expected)


def heads(method):
    """Weights and biases of each head, as arrays of all classes."""
    result = {}
    for modality in MODALITIES:
        head = method.network.heads[modality]
        biases = torch.cat(list(head.biases))
        result[modality] = (head.weight().detach().numpy().copy(), biases.detach().numpy().copy())
    return result


def test_after_each_task_new_weights_have_the_mean_norm_of_old_ones_in_each_head():
    loop = toy_loop("wa", options=TRAIN, memory="12", num_classes=8, num_tasks=3)
    before, after, method = [], [], loop.method
    align = method.after_task

    def note(data):
        before.append(heads(method))
        align(data)
        after.append((data, heads(method)))

    method.after_task = note
    loop.run()
    assert len({data.num_new for data, _ in after}) == 2
    for was, (data, now) in zip(before, after, strict=True):
        for modality in MODALITIES:
            (w, b), (aligned, biases) = was[modality], now[modality]
            wanted, k = w.copy(), data.num_old
            if k:
                norms = [sum(x**2 for x in row) ** 0.5 for row in w.astype(np.float64)]
                gamma = np.mean(norms[:k]) / np.mean(norms[k:])
                assert gamma != pytest.approx(1.0, abs=1e-3)
                wanted[k:] = gamma * w[k:]
            np.testing.assert_allclose(aligned, wanted, rtol=1e-5)
            np.testing.assert_array_equal(aligned[:k], w[:k])
            np.testing.assert_array_equal(biases, b)


def test_the_teacher_of_the_next_task_is_the_aligned_model():
    loop = toy_loop("wa", options=TRAIN, memory="12")
    ends = []
    loop.after_task = lambda: ends.append(heads(loop.method)["audio"][0])
    loop.run()
    teacher = loop.method.teacher.frozen.heads["audio"].weight()
    np.testing.assert_array_equal(teacher.detach().numpy(), ends[1])


SGD = {"learning_rate": 0.1, "optimizer": "sgd", "weight_decay": 5e-3, "schedule": "cosine"}
ADAM = {"learning_rate": 1e-2, "optimizer": "adam"}


@pytest.mark.parametrize(("training", "new_are_longer"), [(SGD, True), (ADAM, False)])
def test_aligning_moves_predictions_to_the_side_whose_weights_were_shorter(
    training, new_are_longer
):
    options = {"training": {"num_epochs": 20, "batch_size": 32, **training}}
    loop = toy_loop(
        "wa", options=options, memory="16", per_class=60, noise=3.0, num_classes=8, num_tasks=4
    )
    notes, method = [], loop.method
    align = method.after_task

    def share_of_new(data):
        with torch.no_grad():
            scores = method.predict(*loop.source.read(loop.test)).probabilities["audio_visual"]
        return float((scores.argmax(dim=1) >= data.num_old).float().mean())

    def note(data):
        norms = np.linalg.norm(heads(method)["audio_visual"][0], axis=1)
        before = share_of_new(data)
        align(data)
        notes.append((norms, before, share_of_new(data)))

    method.after_task = note
    loop.run()
    norms, before, after = notes[-1]  # a quarter of the test clips are of the last task
    assert (norms[6:].mean() > norms[:6].mean()) == new_are_longer
    assert before > 0.25
    if new_are_longer:
        assert 0.25 < after < before - 0.03
    else:
        assert after > before + 0.03


def test_it_forgets_less_than_fine_tuning():
    found = {}
    for name, memory in (("finetune", "0"), ("wa", "12")):
        loop = toy_loop(name, options=TRAIN, memory=memory, per_class=24)
        loop.run()
        found[name] = summarise(loop.predictions)["audio_visual"]
    assert found["wa"]["last"] > found["finetune"]["last"] + 10
    assert found["wa"]["forgetting"] < found["finetune"]["forgetting"] - 20


def test_a_factor_of_zero_weights_is_finite():
    old, new = torch.tensor([[3.0, 4.0], [0.0, 1.0]]), torch.tensor([[0.0, 2.0]])
    assert alignment_factor(old, new).item() == pytest.approx(1.5)
    scaled = alignment_factor(old, torch.zeros(2, 2)) * torch.zeros(2, 2)
    assert not scaled.any()


def test_clipped_weights_are_never_negative_in_a_forward_pass(monkeypatch):
    loop = toy_loop("wa", options={**TRAIN, "clip_weights": True}, memory="12")
    smallest, network = [], loop.method.network
    classify = network.classify

    def spy(features):
        smallest.extend(float(h.weight().detach().min()) for h in network.heads.values())
        return classify(features)

    monkeypatch.setattr(network, "classify", spy)
    loop.run()
    assert min(smallest) == 0.0
    plain = toy_loop("wa", options=TRAIN, memory="12")
    plain.run()
    assert min(w.min() for w, _ in heads(plain.method).values()) < 0.0


def test_several_labels_are_refused():
    with input_error("unsupported", "wa", "one label"):
        toy_method("wa", {}, multi_label=True)
