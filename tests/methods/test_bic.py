"""BiC: clips held out, one bias layer a step, its two stages."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from cign.methods.bic import hold_out
from refusals import input_error
from test_gradients import batch_of, gradients, phase
from toy import toy_loop, toy_method

TRAIN = {"training": {"num_epochs": 4, "batch_size": 8, "learning_rate": 1e-2}}
MODALITIES = ("audio", "visual", "audio_visual")


def bias_of(method):
    """(alpha, beta) of each step and modality."""
    return [
        {r: (layer.scale[r].item(), layer.shift[r].item()) for r in MODALITIES}
        for layer in method.bias
    ]


@pytest.fixture(scope="module")
def history():
    """A run of four tasks: its loop, and after each task its data, its bias layers, its phases."""
    torch.set_num_threads(1)
    options = {
        **TRAIN,
        "held_out": 0.34,  # enough clips that there is a best layer
        "bias_training": {"num_epochs": 100, "batch_size": 64, "learning_rate": 0.1},
    }
    loop = toy_loop(
        "bic", options=options, memory="40", per_class=60, noise=3.0, num_classes=8, num_tasks=4
    )
    notes = []
    loop.method.after_task = lambda data: notes.append(
        (data, bias_of(loop.method), loop.method.phases(data))
    )
    loop.run()
    return loop, notes


def test_each_step_fits_a_layer_of_its_own_and_leaves_the_others(history):
    _, notes = history
    assert [len(bias) for _, bias, _ in notes] == [1, 2, 3, 4]
    final = notes[-1][1]
    for step, (_, bias, _) in enumerate(notes):
        assert bias == final[: step + 1]
    assert all(pair == (1.0, 0.0) for pair in final[0].values())  # nothing to correct yet
    pairs = [pair for layer in final[1:] for pair in layer.values()]
    assert len(set(pairs)) == 9
    assert (1.0, 0.0) not in pairs


def test_held_out_clips_are_a_share_of_each_class_balanced_and_apart(history):
    loop, notes = history
    label = loop.clips.targets.argmax(axis=1)
    for data, _, phases in notes[1:]:
        train, held = (p.indices for p in phases)
        assert not set(train) & set(held)
        assert sorted([*train, *held]) == sorted([*data.memory, *data.new])
        per_class = len(data.memory) // data.num_old
        expected = max(1, int(0.34 * per_class))
        counts = np.bincount(label[held], minlength=data.num_classes)
        assert counts.tolist() == [expected] * data.num_classes
        assert [p.trained for p in phases] == [("network.",), (f"bias.{data.task}.",)]
    assert len(notes[1][2][1].indices) == 4 * 6  # 20 exemplars of each class


@pytest.mark.parametrize(("memory", "expected"), [("8", 1), ("76", 1), ("80", 2)])
def test_a_tenth_and_at_least_one(memory, expected):
    loop = toy_loop("bic", options=TRAIN, memory=memory, per_class=60, num_classes=4, num_tasks=2)
    loop.memory.by_class = {c: np.arange(60 * c, 60 * c + int(memory) // 4) for c in range(2)}
    held = loop.method.phases(loop._task_data(1))[1].indices
    label = loop.clips.targets.argmax(axis=1)
    assert np.bincount(label[held]).tolist() == [expected] * 4


def test_one_exemplar_a_class_is_held_out_and_the_same_again():
    clips = np.arange(50, 90)
    classes = np.repeat([0, 1], 20)
    rest, apart = hold_out(clips, classes, {0: 2, 1: 1}, seed=4)
    assert np.bincount(classes[apart - 50]).tolist() == [2, 1]
    assert sorted([*rest, *apart]) == clips.tolist()
    # Fewer exemplars of a class: those that were held out come first again.
    fewer = np.sort(np.concatenate([apart[:1], rest[:5]]))
    assert hold_out(fewer, np.zeros(6), {0: 1}, seed=4)[1].tolist() == apart[:1].tolist()
    assert hold_out(clips, classes, {0: 2, 1: 1}, seed=5)[1].tolist() != apart.tolist()


def test_a_class_with_one_new_clip_trains_on_it():
    """Of the new classes as many are held out as of the old class that has most, but never all."""
    loop = toy_loop("bic", options=TRAIN, memory="60", per_class=60, num_classes=4, num_tasks=2)
    loop.memory.by_class = {0: np.arange(30), 1: np.arange(60, 65)}
    data = loop._task_data(1)
    label = loop.clips.targets.argmax(axis=1)
    of_2, of_3 = (data.new[label[data.new] == c] for c in (2, 3))
    for clips, expected in ((of_2[:1], 0), (of_2[:2], 1), (of_2[:3], 2), (of_2, 3)):
        object.__setattr__(data, "new", np.concatenate([clips, of_3]))
        train, held = (one.indices for one in loop.method.phases(data))
        assert np.bincount(label[held], minlength=4).tolist() == [3, 1, expected, 3]
        assert sorted([*train, *held]) == sorted([*data.memory, *data.new])


def test_the_second_stage_has_no_stochastic_depth():
    options = {**TRAIN, "trunk": "transformer", "width": 16, "num_heads": 2, "drop_path": 0.9}
    method = toy_method("bic", {**options, "depth": 2})
    for num_new in (2, 3):
        method.grow(num_new)
    for parameter in method.network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    batch = batch_of(5)
    first = {name: loss.item() for name, loss in method.train().learn(batch, phase()).items()}
    again = {name: loss.item() for name, loss in method.train().learn(batch, phase()).items()}
    assert first != again  # in the first stage there is
    fit = dataclasses.replace(phase(), name="bias")
    losses = method.train().learn(batch, fit)
    logits = method.eval().network(batch.audio, batch.visual)
    for modality in MODALITIES:
        rows = logits[modality].detach().double().numpy()
        labels = batch.labels.tolist()
        wanted = -np.mean([log_softmax(row)[c] for row, c in zip(rows, labels, strict=True)])
        assert losses[modality].item() == pytest.approx(wanted, rel=1e-5)  # layers of 1 and 0


def grown():
    """A method at its third step, weights and earlier bias layers away from where they start."""
    method = toy_method("bic", TRAIN)
    for num_new in (2, 1, 2):
        for layer in method.bias:
            for parameter in layer.parameters():
                torch.nn.init.uniform_(parameter, 0.5, 1.5)
        method.grow(num_new)
    for parameter in method.network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return method


def log_softmax(x):
    return x - x.max() - np.log(np.exp(x - x.max()).sum())


@pytest.mark.parametrize("modality", MODALITIES)
def test_first_stage_against_loops_at_the_third_step(modality):
    method, batch = grown(), batch_of(5, num_old=3)
    losses = method.eval().learn(batch, phase())
    now = method.network(batch.audio, batch.visual)[modality].detach().double().numpy()
    old = method.teacher.frozen(batch.audio, batch.visual)[modality].double().numpy()
    bias = [layer[modality] for layer in bias_of(method)]
    assert bias[2] == (1.0, 0.0)
    step_of = [0, 0, 1, 2, 2]
    entropy = distance = 0.0
    for b in range(len(now)):
        q = np.array([bias[s][0] * now[b, c] + bias[s][1] for c, s in enumerate(step_of)])
        p = np.array([bias[s][0] * old[b, c] + bias[s][1] for c, s in enumerate(step_of[:3])])
        entropy -= log_softmax(q)[int(batch.labels[b])]
        distance -= (np.exp(log_softmax(p / 2)) * log_softmax(q[:3] / 2)).sum()
    share = 3 / 5
    assert losses[modality].item() == pytest.approx((1 - share) * entropy / len(now), rel=1e-5)
    value = losses[f"{modality}_distillation"].item()
    assert value == pytest.approx(share * distance / len(now), rel=1e-5)


def test_stages_reach_the_network_and_the_step_s_layer_and_no_other():
    method, batch = grown(), batch_of(5, num_old=3)
    reached = gradients(method, batch)
    assert reached
    assert all(name.startswith("network.") for name in reached)
    data = toy_loop("bic", options=TRAIN, num_classes=5, num_tasks=3, memory="5")._task_data(1)
    object.__setattr__(data, "task", 2)
    object.__setattr__(data, "memory", np.arange(0, 24))
    fit = method.phases(data)[1]
    for parameter in method.parameters():
        parameter.grad = None
    torch.stack(list(method.train().learn(batch, fit).values())).sum().backward()
    names = {n for n, p in method.named_parameters() if p.grad is not None}
    assert names == {n for n, _ in method.named_parameters() if n.startswith("bias.2.")}
    assert len(names) == 6


def test_second_stage_finds_the_best_layer_there_is():
    """Against an independent minimisation over (alpha, beta) in float64."""
    method, batch = grown(), batch_of(5)
    batch = dataclasses.replace(batch, targets=batch.targets.roll(3, dims=0))  # not separable
    fit = dataclasses.replace(phase(), name="bias")
    optimizer = torch.optim.Adam(method.bias[2].parameters(), lr=0.03)
    for _ in range(600):
        optimizer.zero_grad()
        torch.stack(list(method.train().learn(batch, fit).values())).sum().backward()
        optimizer.step()
    for modality in MODALITIES:
        logits = method.eval().network(batch.audio, batch.visual)[modality].detach()
        logits = method.correct(logits, modality, 2).double().numpy()
        labels = batch.labels.numpy()

        def entropy(pair, logits=logits, labels=labels):
            q = np.concatenate([logits[:, :3], pair[0] * logits[:, 3:] + pair[1]], axis=1)
            return -np.mean([log_softmax(row)[c] for row, c in zip(q, labels, strict=True)])

        best = minimize(entropy, np.array([1.0, 0.0]), method="Nelder-Mead")
        assert entropy(np.array([1.0, 0.0])) > best.fun + 0.01
        np.testing.assert_allclose(bias_of(method)[2][modality], best.x, atol=2e-3)


def test_the_last_layer_gives_old_classes_back_their_share_and_helps(history):
    loop, _ = history
    method, label = loop.method, loop.clips.targets.argmax(axis=1)
    audio, visual = loop.source.read(loop.test)
    with torch.no_grad():
        logits = method.eval().network(audio, visual)
    wanted = label[loop.test]
    for modality in MODALITIES:
        before = method.correct(logits[modality], modality, 3).argmax(dim=1).numpy()
        after = method.correct(logits[modality], modality).argmax(dim=1).numpy()
        assert np.array_equal(after, loop.predictions.scores[-1][modality].argmax(axis=1))
        assert (before >= 6).mean() > (wanted >= 6).mean() + 0.1
        assert abs((after >= 6).mean() - 0.25) < abs((before >= 6).mean() - 0.25)
        assert (after == wanted).mean() > (before == wanted).mean() + 0.02


def test_several_labels_are_refused():
    with input_error("unsupported", "bic"):
        toy_method("bic", {}, multi_label=True)
