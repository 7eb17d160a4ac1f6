"""Which clip arrives in which task, against counts in plain loops."""

import math
from collections import Counter

import numpy as np
import pytest

from cign.data.tasks import TaskClips, TaskSequence, split_into_tasks
from cign.runs.arrival import ArrivalConfig
from cign.runs.configuration import RunConfig
from refusals import input_error

NAMES = [f"class {c}" for c in range(7)]


def problem(counts=(9, 8, 7, 6, 5, 4, 3), tasks=(3, 2, 2), sources=None):
    """Clips of one label each, all of them for training: tasks of the classes by size."""
    groups, names = [], iter(NAMES)
    for size in tasks:
        groups.append(tuple(next(names) for _ in range(size)))
    labels = [(name,) for name, count in zip(NAMES, counts, strict=True) for _ in range(count)]
    clips = TaskClips.of(labels, TaskSequence(tuple(groups)), sources)
    return clips, np.arange(len(labels))


def by_class(clips, train):
    """For each class, how many of its clips arrive in each task."""
    found = {c: Counter() for c in range(len(NAMES))}
    for i in train:
        found[int(np.flatnonzero(clips.targets[i])[0])][int(clips.arrival[i])] += 1
    return found


def test_without_a_stream_clips_arrive_in_the_task_of_their_class():
    clips, train = problem()
    drawn = ArrivalConfig().drawn(clips, train, 3)
    assert drawn is clips
    assert (clips.arrival == clips.task_of_clip).all()
    assert clips.arrival is not clips.task_of_clip


# ------------------------------------------------------------------------- blurry


@pytest.mark.parametrize("share", [0.1, 0.25, 0.4])
@pytest.mark.parametrize("seed", [0, 5])
def test_blurry_spreads_a_share_of_each_class_evenly_over_later_tasks(share, seed):
    counts = (30, 8, 41, 10, 25, 12, 9)
    clips, train = problem(counts)
    drawn = ArrivalConfig(stream="blurry", blurry_share=share).drawn(clips, train, seed)
    found = by_class(drawn, train)
    for c, (total, task) in enumerate(zip(counts, (0, 0, 0, 1, 1, 2, 2), strict=True)):
        recurring = math.floor(share * total + 0.5) if task < 2 else 0
        assert found[c][task] == total - recurring
        later = [found[c][k] for k in range(task + 1, 3)]
        assert sum(later) == recurring
        assert not later or max(later) - min(later) <= 1
        assert set(found[c]) <= set(range(task, 3))  # never before its own task
    # All clips arrive, each once.
    parts = [drawn.of_task(train, task) for task in range(3)]
    assert sorted(np.concatenate(parts)) == train.tolist()
    for task in range(3):
        assert sorted(drawn.up_to(train, task)) == sorted(np.concatenate(parts[: task + 1]))


def test_blurry_draws_by_seed_and_leaves_other_clips_alone():
    clips, every = problem((30, 30, 30, 30, 30, 5, 5))
    train = every[::2]
    stream = ArrivalConfig(stream="blurry", blurry_share=0.2)
    one, again, other = (stream.drawn(clips, train, seed).arrival for seed in (1, 1, 2))
    assert (one == again).all()
    assert (one != other).any()
    rest = np.setdiff1d(every, train)
    assert (one[rest] == clips.task_of_clip[rest]).all()


def test_blurry_moves_the_clips_of_a_recording_together():
    counts = (20, 20, 20, 20, 20, 4, 4)
    rng = np.random.default_rng(0)
    sources = [
        f"{c} {rng.integers(6)}" + (f" + {c} {rng.integers(6)}" if rng.random() < 0.2 else "")
        for c, count in enumerate(counts)
        for _ in range(count)
    ]
    clips, train = problem(counts, sources=sources)
    for seed in range(10):
        drawn = ArrivalConfig(stream="blurry", blurry_share=0.4).drawn(clips, train, seed)
        tasks_of = {}
        for i in train:
            for source in clips.sources[i]:
                tasks_of.setdefault(source, set()).add(int(drawn.arrival[i]))
        assert all(len(tasks) == 1 for tasks in tasks_of.values())
        for c, found in by_class(drawn, train).items():
            own = int(clips.tasks.task_of_class[c])
            assert 0 < counts[c] - found[own] <= 8 or own == 2 or counts[c] == found[own]


def test_blurry_counts_a_clip_of_several_labels_for_its_latest_task():
    groups = (("a", "b"), ("c",), ("d",))
    labels = [("a",), ("a", "b"), ("b",), ("a", "c"), ("c",), ("c",), ("c", "d"), ("d",)] * 5
    clips, train = TaskClips.of(labels, TaskSequence(groups)), np.arange(len(labels))
    drawn = ArrivalConfig(stream="blurry", blurry_share=0.2).drawn(clips, train, 0)
    assert (drawn.arrival >= clips.task_of_clip).all()
    assert (drawn.arrival > clips.task_of_clip).sum() == 2 + 1 + 3  # of 10, 5 and 15 clips


# ------------------------------------------------------------------------- few-shot


@pytest.mark.parametrize("shots", [1, 4, 5])
def test_few_shot_has_all_clips_of_the_base_task_and_a_few_of_later_classes(shots):
    clips, train = problem()
    drawn = ArrivalConfig(stream="fewshot", shots=shots).drawn(clips, train, 0)
    counts = by_class(drawn, train)
    for c, total in enumerate((9, 8, 7)):
        assert counts[c] == {0: total}
    for c, total, task in ((3, 6, 1), (4, 5, 1), (5, 4, 2), (6, 3, 2)):
        got = min(shots, total)
        assert counts[c] == {task: got, -1: total - got} or counts[c] == {task: got}
    parts = [drawn.of_task(train, task) for task in range(3)]
    joined = np.concatenate(parts)
    assert len(set(joined.tolist())) == len(joined) == (drawn.arrival[train] >= 0).sum()


def test_few_shot_draws_by_seed():
    clips, train = problem()
    few = ArrivalConfig(stream="fewshot", shots=2)
    one, again, other = (few.drawn(clips, train, seed).arrival for seed in (1, 1, 2))
    assert (one == again).all()
    assert (one != other).any()


def test_few_shot_draws_of_a_class_do_not_depend_on_later_tasks():
    few = ArrivalConfig(stream="fewshot", shots=2)
    (three, train), (two, _) = problem(tasks=(3, 2, 2)), problem(tasks=(3, 4))
    drawn = [few.drawn(clips, train, 0).arrival >= 0 for clips in (three, two)]
    assert (drawn[0] == drawn[1]).all()


def test_few_shot_counts_a_clip_for_each_of_its_labels():
    groups = (("a", "b"), ("c",), ("d",))
    labels = [("a",), ("b",), ("c", "d"), ("c",), ("c",), ("c",), ("d",), ("d",), ("d", "a")]
    clips, train = TaskClips.of(labels, TaskSequence(groups)), np.arange(len(labels))
    for seed in range(20):
        drawn = ArrivalConfig(stream="fewshot", shots=2).drawn(clips, train, seed)
        for c in (2, 3):
            members = [i for i in train if clips.targets[i, c] and drawn.arrival[i] >= 0]
            assert len(members) >= 2
            # Each class has clips in its own task, where it has clips of its own.
            assert any(drawn.arrival[i] == clips.tasks.task_of_class[c] for i in members)
        for i in train:
            assert drawn.arrival[i] in (-1, clips.task_of_clip[i])
        assert (drawn.arrival[:2] == 0).all()


def test_few_shot_cuts_the_base_task_first():
    few = ArrivalConfig(stream="fewshot")
    assert few.cut(NAMES, 3, 0).sizes == (4, 2, 1)
    assert few.cut(NAMES[:6], 4, 0).sizes == (3, 1, 1, 1)
    five = ArrivalConfig(stream="fewshot", base_classes=5)
    assert five.cut(NAMES, 2, 1).sizes == (5, 2)
    assert five.cut(NAMES, 2, 1).class_order == split_into_tasks(NAMES, 2, 1).class_order


# ------------------------------------------------------------------------- bad input


def test_streams_refuse_bad_values():
    with input_error("unknown-name", "stream", "'blury'"):
        RunConfig.of("finetune", stream="blury")
    for share in (0.0, 1.0, float("nan")):
        with input_error("bad-value", "blurry_share", "above 0 and below 1"):
            RunConfig.of("finetune", stream="blurry", blurry_share=share)
    with input_error("bad-value", "blurry_share", "-0.1"):
        RunConfig.of("finetune", stream="blurry", blurry_share=-0.1)
    with input_error("unsupported", "l2p", "blurry", "--stream tasks"):
        RunConfig.of("l2p", stream="blurry")
    with input_error("bad-value", "shots", "0"):
        RunConfig.of("finetune", stream="fewshot", shots=0)
    with input_error("bad-value", "base_classes", "-1"):
        RunConfig.of("finetune", stream="fewshot", base_classes=-1)
    with input_error("conflicting-options", "shots is 3", "--stream fewshot"):
        ArrivalConfig(shots=3).cut(NAMES, 2, 0)
    with input_error("bad-value", "fewshot", "--tasks 2"):
        ArrivalConfig(stream="fewshot").cut(NAMES, 1, 0)
    with input_error("bad-value", "7 base classes", "--base-classes", "5"):
        ArrivalConfig(stream="fewshot", base_classes=7).cut(NAMES, 3, 0)
    with input_error("bad-value", "9 base classes"):
        ArrivalConfig(stream="fewshot", base_classes=9).cut(NAMES, 3, 0)
    clips, train = problem()
    with input_error("no-clips", "'class 4'", "5 training clips", "--blurry-share"):
        ArrivalConfig(stream="blurry", blurry_share=0.9).drawn(clips, train, 0)
    with input_error("bad-value", "0.01", "no clip recurs"):
        ArrivalConfig(stream="blurry", blurry_share=0.01).drawn(clips, train, 0)
    one_task, _ = problem(tasks=(7,))
    with input_error("bad-value", "blurry", "--tasks 2"):
        ArrivalConfig(stream="blurry").drawn(one_task, train, 0)
    with input_error("conflicting-options", "base_classes 4", "3 classes"):
        ArrivalConfig(stream="fewshot", base_classes=4).drawn(clips, train, 0)
