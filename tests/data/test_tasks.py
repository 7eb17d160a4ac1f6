import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cign.data.tasks import TaskClips, TaskSequence, read_task_file, split_into_tasks
from cign.errors import InputError
from refusals import input_error

NAMES = [f"class {i}" for i in range(10)]


def test_first_tasks_take_one_class_more():
    assert split_into_tasks(NAMES, 4).sizes == (3, 3, 2, 2)
    assert split_into_tasks(NAMES, 4).class_order == tuple(NAMES)


@given(st.integers(1, 40), st.data(), st.integers(0, 5))
def test_every_class_comes_once(num_classes, data, order):
    num_tasks = data.draw(st.integers(1, num_classes))
    names = [str(i) for i in range(num_classes)]
    tasks = split_into_tasks(names, num_tasks, order)
    assert sorted(tasks.class_order) == sorted(names)
    assert tasks.num_tasks == num_tasks
    assert max(tasks.sizes) - min(tasks.sizes) <= 1
    assert tasks.num_seen(num_tasks - 1) == num_classes


def test_order_is_a_permutation_that_depends_on_its_seed_alone():
    one, two = split_into_tasks(NAMES, 5, 1), split_into_tasks(NAMES, 5, 2)
    assert one.class_order != two.class_order != tuple(NAMES)
    assert split_into_tasks(NAMES, 2, 1).class_order == one.class_order


@pytest.mark.parametrize("num_tasks", [0, 11])
def test_tasks_that_do_not_fit_are_refused(num_tasks):
    with input_error("bad-value", f"{num_tasks} tasks", "10 classes"):
        split_into_tasks(NAMES, num_tasks)


@pytest.mark.parametrize("text", ["- [a, b]\n- [c]\n", '[["a", "b"], ["c"]]'], ids=["yaml", "json"])
def test_task_file_keeps_its_groups_and_permutes_only_them(tmp_path, text):
    path = tmp_path / ("tasks.json" if text[0] == "[" else "tasks.yaml")
    path.write_text(text)
    assert read_task_file(path, ["a", "b", "c"]).groups == (("a", "b"), ("c",))
    orders = {read_task_file(path, ["a", "b", "c"], order).groups for order in range(1, 9)}
    assert orders == {(("a", "b"), ("c",)), (("c",), ("a", "b"))}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- [a, b]\n- [c, d]\n", "names a class the store lacks: 'd'"),
        ("- [a]\n- [c]\n", "leaves out a class of the store: 'b'"),
        ("- [a, b]\n- [c, a]\n", "names a class twice: 'a'"),
        ("a: b\n", "must be a list of non-empty lists"),
        ("- [a, [b]]\n", "must be a list of non-empty lists"),
        ("- [a\n", "cannot be read"),
    ],
)
def test_task_file_with_a_mistake_is_refused(tmp_path, text, message):
    (tmp_path / "tasks.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        read_task_file(tmp_path / "tasks.yaml", ["a", "b", "c"])


def test_missing_task_file_is_named(tmp_path):
    with input_error("file-unreadable", "nowhere.yaml"):
        read_task_file(tmp_path / "nowhere.yaml", ["a", "b"])


def test_a_clip_comes_with_the_later_of_its_classes():
    tasks = TaskSequence((("a", "b"), ("c",)))
    clips = TaskClips.of([("a",), ("b", "c"), ("c", "a"), ("x",), ("a", "x")], tasks)
    assert clips.task_of_clip.tolist() == [0, 1, 1, -1, -1]
    assert clips.targets.astype(int).tolist()[:3] == [[1, 0, 0], [0, 1, 1], [1, 0, 1]]
    assert clips.is_multi_label
    everything = np.arange(5)
    assert clips.of_task(everything, 1).tolist() == [1, 2]
    assert clips.up_to(everything, 1).tolist() == [0, 1, 2]
    assert clips.up_to(everything, 0).tolist() == [0]


def test_clip_counts_for_the_first_class_of_its_own_task():
    tasks = TaskSequence((("a", "b"), ("c", "d")))
    labels = [("b",), ("b", "a"), ("d", "b"), ("d", "c"), ("a", "d", "c")]
    clips = TaskClips.of(labels, tasks)
    assert clips.class_of(np.arange(5)).tolist() == [1, 0, 3, 2, 2]
    assert clips.class_of(np.array([3, 0])).tolist() == [2, 1]
