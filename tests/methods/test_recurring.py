"""Clips of old classes among the new clips of a task, as in a blurry stream."""

import dataclasses

import numpy as np
import pytest
import torch

from cign.data.exemplar_memory import ExemplarMemory, MemoryBudget
from cign.methods import METHODS, method_class
from cign.methods.phases import Phase, TrainingOptions
from cign.metrics.incremental import seen_accuracy
from cign.vocabulary import MODALITIES
from loops import assert_step, batch_of, cross_entropy, grown, phase_of
from toy import FIXED, quick_options, toy_loop, toy_method

BLURRY = {"stream": "blurry", "blurry_share": 0.3}
PHASE = Phase(name="train", indices=np.zeros(0, dtype=np.int64), options=TrainingOptions())


def learned(name, num_tasks, memory="12", arrival=BLURRY, options=None, **kwargs):
    """A loop that has learned some tasks and a step of the next one, and the data of that one."""
    options = quick_options(name) if options is None else options
    loop = toy_loop(name, options=options, memory=memory, arrival=arrival, **kwargs)
    states = []
    loop.after_task = lambda: states.append(loop.place.task)
    while len(states) < num_tasks:
        loop.stop_after = loop._steps_done + 1
        loop.run()
    loop.stop_after = None
    return loop, loop._task_data(num_tasks)


def test_a_batch_knows_the_clips_of_old_classes_and_those_that_arrived_before():
    loop, data = learned("finetune", 1)
    recurring = [i for i in data.new if loop.clips.task_of_clip[i] == 0]
    assert len(recurring) == 2  # two of eight clips of each of two classes, for two later tasks
    for batch in data.batches(np.concatenate([data.memory, data.new])):
        for row, clip in enumerate(batch.indices):
            label = int(loop.clips.targets[clip].argmax())
            assert bool(batch.from_memory[row]) == (clip in data.memory)
            assert bool(batch.of_old_classes(2)[row]) == (label < 2)
            assert int(batch.labels[row]) == label


@pytest.mark.parametrize(
    ("name", "options"), [("lwf", {"classes": "new"}), ("cign", {"negatives": "new", "depth": 1})]
)
def test_the_mask_of_a_recurring_clip_is_that_of_an_exemplar(name, options):
    _, data = learned("finetune", 1)
    (batch,) = list(data.batches(data.new))
    method = toy_method(name, options)
    method.grow(2)
    method.grow(2)
    method.eval()
    recurs = dataclasses.replace(batch, from_memory=torch.zeros_like(batch.from_memory))
    memory = dataclasses.replace(batch, from_memory=batch.labels < 2)
    for loss, wanted in zip(
        method.learn(recurs, PHASE).values(), method.learn(memory, PHASE).values(), strict=True
    ):
        assert torch.isfinite(loss)
        assert loss == wanted


def test_er_ace_learns_a_recurring_clip_over_all_classes_as_a_new_clip():
    labels = [3, 4, 1, 0, 2]  # the third is new, although its class is old
    batch = batch_of(labels)
    batch = dataclasses.replace(batch, from_memory=torch.tensor([False] * 3 + [True] * 2))

    def expected(modality, logits):
        terms, gradient = {"": 0.0, "_replay": 0.0}, np.zeros_like(logits)
        for b, label in enumerate(labels):
            number = 3 if b < 3 else 2
            classes = [3, 4] if label > 2 else range(5)
            value, of_clip = cross_entropy(logits[b], label, classes)
            terms["" if b < 3 else "_replay"] += value / number
            gradient[b] = of_clip / number
        return terms, gradient

    assert_step(grown("er_ace"), batch, phase_of(3, 2), expected)


@pytest.mark.parametrize("arrival", [BLURRY, {}])
def test_masked_trains_the_rows_of_classes_that_recur(arrival):
    loop, data = learned("masked", 1, memory="0", arrival=arrival)
    (phase,) = loop.method.phases(data)
    trained = [n for n, _ in loop.method.named_parameters() if n.startswith(phase.trained)]
    assert any(name.endswith("audio.weights.0") for name in trained) == bool(arrival)
    assert any(name.endswith("audio.weights.1") for name in trained)


def test_il2m_takes_its_confidence_from_clips_of_the_new_classes():
    loop, data = learned("il2m", 2)
    method = loop.method.eval()
    method.after_task(data)
    labels = loop.clips.targets.argmax(axis=1)
    new = data.new[labels[data.new] >= data.num_old]
    assert 0 < len(new) < len(data.new)
    audio, visual = loop.source.read(new)
    with torch.no_grad():
        scores = method._scores(audio, visual)
    for row, modality in enumerate(MODALITIES):
        found = scores[modality].double().numpy()
        assert method.confidence[row, -1].item() == pytest.approx(found.max(axis=1).mean())
        for c in range(data.num_old, data.num_classes):
            mean = found[labels[new] == c][:, c].mean()
            assert method.initial_means[row, c].item() == pytest.approx(mean)


def test_cign_replay_counts_recurring_clips_for_their_class():
    loop, data = learned("cign_replay", 1)
    labels = loop.clips.targets.argmax(axis=1)
    counts = [0] * 4
    for i in (*data.memory, *data.new):
        counts[labels[i]] += 1
    assert loop.method.counts.tolist() == counts


def test_bic_holds_out_no_recurring_clip():
    _, data = learned("bic", 1)
    method = toy_method("bic", quick_options("bic"))
    method.grow(2)
    method.grow(2)
    train, bias = (phase.indices.tolist() for phase in method.phases(data))
    recurring = {int(i) for i in data.new if data.class_of(data.new[data.new == i])[0] < 2}
    assert recurring
    assert recurring <= set(train)
    assert sorted(train + bias) == sorted([*data.memory, *data.new])


@pytest.mark.parametrize("name", ["analytic", "cign_analytic"])
def test_a_closed_form_ends_with_the_solution_of_disjoint_tasks(name):
    scores = []
    for arrival in (BLURRY, {}):
        loop = toy_loop(name, options={**FIXED[name], "width": 30}, arrival=arrival)
        loop.run()
        assert loop.method.class_clips.tolist() == [8.0] * 6
        scores.append(loop.predictions.scores[-1])
    for modality in MODALITIES:
        np.testing.assert_allclose(scores[0][modality], scores[1][modality], rtol=0, atol=1e-5)


# ------------------------------------------------------------------------- memory


def test_recurring_clips_fill_the_room_of_their_class():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(40, 4)).astype(np.float32)
    memory = ExemplarMemory(MemoryBudget.parse("4/class"))
    features = vectors.__getitem__
    memory.update({0: np.arange(3), 1: np.arange(10, 18)}, 2, 1, features)
    before = {c: clips.tolist() for c, clips in memory.by_class.items()}
    assert [len(before[c]) for c in (0, 1)] == [3, 4]
    asked = []

    def watched(clips):
        asked.append(clips.tolist())
        return vectors[clips]

    new = {0: np.array([30, 31, 32]), 1: np.array([33]), 2: np.arange(20, 22)}
    memory.update(new, 3, 1, watched)
    assert memory.by_class[0][:3].tolist() == before[0]
    assert len(memory.by_class[0]) == 4
    # The first that herding takes is the one nearest to the mean of those that recur.
    units = vectors[30:33].astype(float)
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    nearest = 30 + int(np.argmin(np.linalg.norm(units - units.mean(axis=0), axis=1)))
    assert memory.by_class[0][3] == nearest
    assert memory.by_class[1].tolist() == before[1]
    assert sorted(memory.by_class[2]) == [20, 21]
    assert [30, 31, 32] in asked
    assert [33] not in asked  # no room, no features
    memory = ExemplarMemory(MemoryBudget.parse("6"), selection="random")
    memory.update({0: np.arange(10)}, 1, 1, features)
    memory.update({0: np.array([30]), 1: np.arange(10, 20)}, 2, 1, features)
    assert len(memory.by_class[0]) == len(memory.by_class[1]) == 3
    assert 30 not in memory.by_class[0]


def test_a_memory_that_holds_every_clip_holds_recurring_ones_too():
    loop = toy_loop("finetune", memory="8/class", arrival=BLURRY)
    loop.run()
    assert sorted(loop.memory.indices) == sorted(loop.train)


# ------------------------------------------------------------------------- all methods


@pytest.mark.parametrize(
    "name", [n for n in METHODS if not method_class(n).stream_reason("blurry", "frozen")]
)
def test_every_method_learns_a_blurry_stream(name):
    """On separable clusters, the last accuracy is far above chance."""
    training = {"num_epochs": 25, "min_steps": 0, "batch_size": 8, "learning_rate": 5e-3}
    options = quick_options(name, training)
    loop = toy_loop(name, options=options, memory="24", arrival=BLURRY, noise=0.3)
    loop.run()
    for task in loop.losses:
        assert all(np.isfinite(v) for k, v in task.items() if isinstance(v, float))
    assert seen_accuracy(loop.predictions, "audio_visual")[-1] > 0.5
