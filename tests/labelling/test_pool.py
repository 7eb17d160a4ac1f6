"""Margins, and the least certain clips of a pool."""

import numpy as np
import pytest

from cign.labelling.pool import Scored, least_certain, margins


def scored(numbers, values):
    count = len(numbers)
    return Scored(
        numbers=np.array(numbers),
        margins=np.array(values, np.float32),
        best=np.zeros((count, 2), np.int64),
        probabilities=np.zeros((count, 2), np.float32),
        unknown=np.array(numbers, np.float32),
        has_audio=np.ones(count, bool),
        has_visual=np.ones(count, bool),
        audio=np.array(numbers, np.float32)[:, None],
        visual=np.zeros((count, 1), np.float32),
    )


def test_margin_of_one_label():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(5), 40)
    found = margins(p, multi_label=False)
    for row, value in zip(p, found, strict=True):
        highest = sorted(row.tolist(), reverse=True)
        assert value == pytest.approx(highest[0] - highest[1])
    assert margins(np.array([[0.4, 0.4, 0.2]]), multi_label=False) == 0


def test_margin_of_several_labels_is_that_of_the_least_certain_decision():
    p = np.array([[0.9, 0.1, 0.6], [0.99, 0.02, 0.01], [0.5, 1.0, 0.0]])
    wanted = [min(abs(x - (1 - x)) for x in row) for row in p.tolist()]
    assert margins(p, multi_label=True) == pytest.approx(wanted)


def test_with_two_exclusive_classes_both_margins_are_the_same():
    p = np.random.default_rng(1).dirichlet(np.ones(2), 20)
    np.testing.assert_allclose(margins(p, multi_label=False), margins(p, multi_label=True))


def test_a_single_class_gives_no_margin():
    assert margins(np.ones((3, 1)), multi_label=False).tolist() == [0, 0, 0]


@pytest.mark.parametrize("batch_size", [1, 2, 7, 100])
@pytest.mark.parametrize("number", [1, 5, 40, 200])
def test_the_least_certain_do_not_depend_on_the_batches(batch_size, number):
    rng = np.random.default_rng(2)
    values = rng.integers(0, 12, 90) / 12  # many ties
    batches = [
        scored(range(begin, min(begin + batch_size, 90)), values[begin : begin + batch_size])
        for begin in range(0, 90, batch_size)
    ]
    rng.shuffle(batches)
    found = least_certain(batches, number)
    wanted = sorted(range(90), key=lambda clip: (values[clip], clip))[:number]
    assert found.numbers.tolist() == wanted
    assert found.audio[:, 0].tolist() == wanted  # whole rows move
    assert found.unknown.tolist() == wanted


def test_without_clips_there_is_nothing():
    assert least_certain([], 3) is None
