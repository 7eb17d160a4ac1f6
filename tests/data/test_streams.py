"""Which clip arrives in which task, against counts in plain loops."""

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
    with input_error("conflicting-options", "base_classes 4", "3 classes"):
        ArrivalConfig(stream="fewshot", base_classes=4).drawn(clips, train, 0)
