"""Online streams: one pass, and accuracy at any time against plain loops."""

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from cign.data.batches import cut
from cign.methods import METHODS, method_class
from cign.methods.phases import Phase, TrainingOptions
from cign.metrics.incremental import seen_accuracy
from cign.metrics.online import CurvePoint, area, percent_of_seen, summarise
from cign.metrics.predictions import Predictions
from cign.runs.configuration import RunConfig
from cign.training.loop import _SHUFFLE
from cign.training.online import ONLINE_BATCH, evaluation_steps, one_pass
from cign.utils.seeding import stream
from cign.vocabulary import MODALITIES
from refusals import input_error, run_error
from toy import FIXED, quick_options, toy_loop
from traps.runs import assert_same_results

NAMES = [name for name in METHODS if not method_class(name).stream_reason("online", "frozen")]


def make(name, evaluations=4, options=None, **kwargs):
    kwargs = {"memory": "12", "per_class": 30, "seed": 3, **kwargs}
    options = quick_options(name) if options is None else options
    arrival = {"stream": "online", "evaluations": evaluations}
    return toy_loop(name, options=options, arrival=arrival, **kwargs)


# ------------------------------------------------------------------------- one pass


@pytest.mark.parametrize("name", NAMES)
def test_each_clip_is_learned_once_in_batches_of_ten(name, monkeypatch):
    loop = make(name)
    batches, learn = [], type(loop.method).learn

    def watched(self, batch, phase):
        batches.append((loop.place.task, batch.indices.tolist(), batch.from_memory.tolist()))
        return learn(self, batch, phase)

    monkeypatch.setattr(type(loop.method), "learn", watched)
    loop.run()
    for task in range(3):
        of_task = loop.clips.of_task(loop.train, task)  # 40 clips
        new = [
            [i for i, is_old in zip(indices, old, strict=True) if not is_old]
            for number, indices, old in batches
            if number == task
        ]
        assert sorted(i for batch in new for i in batch) == sorted(of_task)
        assert [len(batch) for batch in new] == [10, 10, 10, 10]
        replayed = {sum(old) for number, _, old in batches if number == task}
        if task == 0 or loop.memory.budget.amount == 0 or not method_class(name).uses_memory:
            continue
        # Of 13 clips, ssil has 3 old ones for 10 new ones, and av_cil 4 for 9.
        expected = {"derpp": 20, "ssil": 3, "av_cil": 5}.get(name, 10)
        assert replayed == {expected}


def data_of(new, memory):
    loop = toy_loop("finetune")
    data = loop._task_data(1)
    object.__setattr__(data, "new", np.asarray(new))
    object.__setattr__(data, "memory", np.asarray(memory))
    return data


def test_numbers_of_passes_steps_and_clips_of_a_phase_are_replaced():
    data = data_of(range(100, 123), range(7))
    options = TrainingOptions(num_epochs=9, min_steps=500, batch_size=32, learning_rate=0.5)
    mixed = np.concatenate([data.memory, data.new])
    (phase,) = one_pass([Phase(name="train", indices=mixed, options=options)], data)
    assert phase.num_epochs * phase.steps_per_epoch == 3
    assert phase.options.learning_rate == 0.5
    batches = phase.batches(np.random.default_rng(0))
    assert [len(batch) for batch in batches] == [20, 20, 13]
    assert sorted(i for batch in batches for i in batch[:-10]) == data.new.tolist()
    assert {int(i) for batch in batches for i in batch[-10:]} <= set(range(7))
    # A schedule runs over the one pass.
    cosine = TrainingOptions(num_epochs=9, batch_size=32, schedule="cosine")
    (phase,) = one_pass([Phase(name="train", indices=data.new, options=cosine)], data)
    rates = [phase.learning_rate(step) / 1e-3 for step in range(3)]
    assert rates == pytest.approx([0.5 * (1 + np.cos(np.pi * k / 3)) for k in range(3)])


def test_phases_that_read_a_clip_twice_are_refused():
    data = data_of(range(100, 110), ())
    phase = Phase(name="first", indices=data.new, options=TrainingOptions())
    second = Phase(name="second", indices=data.new[:1], options=TrainingOptions())
    with run_error("plugin-contract", "first, second", "--stream tasks"):
        one_pass([phase, second], data)


@pytest.mark.parametrize("name", ["joint", "bic", "podnet", "icarl"])
def test_methods_that_need_many_passes_are_refused(name):
    with input_error("unsupported", name, "online", "--stream tasks"):
        RunConfig.of(name, stream="online")


def test_a_closed_form_with_trained_encoders_is_refused():
    with input_error("unsupported", "analytic", "--regime frozen"):
        RunConfig.of("analytic", stream="online", regime="end-to-end")
    RunConfig.of("finetune", stream="online", regime="end-to-end")
    RunConfig.of("analytic", stream="online")


# ------------------------------------------------------------------------- evaluations


@pytest.mark.parametrize(("num_steps", "number"), [(40, 10), (7, 3), (2, 10), (1, 10), (25, 1)])
def test_evaluations_are_spread_over_a_pass(num_steps, number):
    steps = evaluation_steps(num_steps, number)
    assert len(steps) == min(number, num_steps) - 1
    assert all(0 < step < num_steps for step in steps)
    if number < num_steps:
        gaps = np.diff([0, *steps, num_steps])
        assert gaps.max() - gaps.min() <= 1


@pytest.mark.parametrize("name", NAMES)
def test_evaluating_more_often_changes_nothing_that_is_learned(name):
    once, often = make(name, evaluations=1), make(name, evaluations=100)
    once.run()
    often.run()
    assert (len(once.online.points), len(often.online.points)) == (3, 3 * 4)
    assert_same_results(often, once)
    for key, value in once.method.state_dict().items():
        assert torch.equal(often.method.state_dict()[key], value), key
    assert once.online.points == [p for p in often.online.points if p.num_clips % 40 == 0]


@pytest.mark.parametrize("num_steps", [1, 3, 6])
@pytest.mark.parametrize("name", NAMES)
def test_an_evaluation_is_that_of_the_state_at_its_step(name, num_steps):
    loop = make(name, stop_after=num_steps)
    loop.run()
    task, step = divmod(num_steps, 4)
    assert (loop.place.task, loop.place.step) == (task, step)
    point = loop.online.points[-1]
    assert (point.task, point.num_clips) == (task + 1, 10 * num_steps)
    phase = one_pass(loop.method.phases(loop.method.data), loop.method.data)[0]
    batches = phase.batches(stream(3, _SHUFFLE, task, 0, 0))[:step]
    labels = loop.clips.targets.argmax(axis=1)
    seen = sorted({*labels[np.concatenate(batches)].tolist(), *range(2 * task)})
    assert point.num_classes == len(seen)
    loop.method.eval()
    loop.method.before_scoring()
    audio, visual = loop.source.read(loop.test)
    with torch.no_grad():
        found = loop.method(audio, visual).probabilities
    for modality in MODALITIES:
        right = count = 0
        for scores, i in zip(found[modality].numpy(), loop.test, strict=True):
            if labels[i] in seen:
                count += 1
                right += seen[int(np.argmax(scores[seen]))] == labels[i]
        assert point.percent[modality] == pytest.approx(100 * right / count)


@pytest.mark.parametrize("name", NAMES)
def test_the_last_evaluation_of_a_task_is_that_of_the_predictions(name):
    loop = make(name)
    loop.run()
    last = {point.task: point for point in loop.online.points}
    for modality in MODALITIES:
        found = [last[task].percent[modality] for task in (1, 2, 3)]
        wanted = 100 * seen_accuracy(loop.predictions, modality)
        assert found == pytest.approx(wanted.tolist())
    assert [last[task].num_clips for task in (1, 2, 3)] == [40, 80, 120]
    assert [last[task].num_classes for task in (1, 2, 3)] == [2, 4, 6]


@pytest.mark.parametrize("name", NAMES)
def test_a_method_classifies_in_the_middle_of_a_task(name):
    """On separable clusters, far better than chance before the first task is over."""
    training = {"num_epochs": 1, "min_steps": 0, "learning_rate": 3e-2}
    loop = make(name, options=quick_options(name, training), noise=0.2, num_tasks=2, per_class=60)
    loop.stop_after = 11
    loop.run()
    assert loop.place.task == 0
    assert loop.online.points[-1].num_clips == 90  # of 120
    assert max(loop.online.points[-1].percent.values()) > 60


@pytest.mark.parametrize("name", ["analytic", "cign_analytic"])
def test_a_closed_form_ends_as_in_disjoint_tasks(name):
    options = {**FIXED[name], "width": 30}
    loops = [
        make(name, options=options),
        toy_loop(name, options=options, per_class=30, seed=3),
    ]
    for loop in loops:
        loop.run()
    for ours, theirs in zip(*(loop.predictions.scores for loop in loops), strict=True):
        for modality in MODALITIES:
            np.testing.assert_allclose(ours[modality], theirs[modality], rtol=0, atol=1e-5)


def test_a_run_without_test_clips_has_no_accuracy():
    loop = make("finetune")
    loop.test = loop.test[:0]
    loop.predictions = Predictions(
        clip_ids=[],
        labels=[],
        class_names=loop.clips.tasks.class_order,
        task_sizes=loop.clips.tasks.sizes,
    )
    loop.run()
    assert len(loop.online.points) == 3 * 4
    assert {value for p in loop.online.points for value in p.percent.values()} == {None}
    assert summarise(loop.online.points)["audio"] == {"auc_online": None}


# ------------------------------------------------------------------------- metrics


def points(values, clips):
    return [
        CurvePoint(task=1, num_clips=n, num_classes=1, percent=dict.fromkeys(MODALITIES, v))
        for n, v in zip(clips, values, strict=True)
    ]


def test_the_area_is_the_mean_accuracy_over_clips():
    values, clips = [80.0, 60.0, 50.0, 90.0], [10, 30, 35, 75]
    at_clip = []
    for n in range(1, 76):
        at_clip.append(next(v for v, end in zip(values, clips, strict=True) if n <= end))
    assert area(points(values, clips), "audio") == pytest.approx(np.mean(at_clip))
    assert area([], "audio") is None
    assert area(points([40.0], [7]), "visual") == 40.0


def test_the_arg_max_is_over_the_classes_seen():
    names = ("a", "b", "c")
    run = Predictions(
        clip_ids=["0", "1", "2", "3"],
        labels=[("a",), ("b",), ("b",), ("c",)],
        class_names=names,
        task_sizes=(2, 1),
    )
    scores = np.array([[0.1, 0.9, 0.2], [0.3, 0.2, 0.1], [0.0, 0.1, 0.9]], dtype=np.float32)
    by_modality = dict.fromkeys(MODALITIES, scores[1:])
    rows = np.array([1, 3])
    assert percent_of_seen(run, rows, by_modality, np.array([1, 2]))["audio"] == 100.0
    assert percent_of_seen(run, rows, by_modality, np.array([0, 1, 2]))["audio"] == 50.0


def test_clips_of_several_labels_are_measured_by_average_precision():
    rng = np.random.default_rng(0)
    names = ("a", "b", "c")
    labels = [("a", "b"), ("a",), ("b",), ("c", "a"), ("b", "c"), ("a",)]
    run = Predictions(
        clip_ids=[str(i) for i in range(6)], labels=labels, class_names=names, task_sizes=(3,)
    )
    rows, seen = np.array([0, 1, 2, 3, 4, 5]), np.array([0, 1])
    scores = {m: rng.normal(size=(6, 3)).astype(np.float32) for m in MODALITIES}
    targets = np.array([[name in of_clip for name in names] for of_clip in labels])
    for modality, value in percent_of_seen(run, rows, scores, seen).items():
        each = [average_precision_score(targets[:, c], scores[modality][:, c]) for c in seen]
        assert value == pytest.approx(100 * np.mean(each))


def test_batches_are_those_of_the_stream():
    assert [len(batch) for batch in cut(np.arange(41), ONLINE_BATCH)] == [10, 10, 10, 11]
