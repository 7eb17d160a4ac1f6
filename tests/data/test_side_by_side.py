"""Generators side by side: order, bounds, errors, an early end."""

import threading
import time
from functools import partial

import pytest

from cign.data.media.side_by_side import PAUSE, num_threads, side_by_side


def numbers(which, count, seconds=0.0):
    for number in range(count):
        time.sleep(seconds)
        yield which, number


def test_items_come_in_order_though_later_generators_are_faster():
    makers = [partial(numbers, which, 3, 0.02 * (4 - which)) for which in range(4)]
    found = list(side_by_side(makers, threads=4, ahead=4, depth=1))
    assert found == [(which, number) for which in range(4) for number in range(3)]


def test_generators_run_at_the_same_time():
    barrier = threading.Barrier(3, timeout=10)

    def meets(which):
        barrier.wait()  # breaks unless three are under way at once
        yield which

    found = list(side_by_side([partial(meets, n) for n in range(3)], threads=3, ahead=3, depth=1))
    assert found == [0, 1, 2]


@pytest.mark.parametrize("threads", [1, 3])
def test_what_waits_is_bounded(threads):
    made = []

    def counted(which):
        for number in range(50):
            made.append((which, number))
            yield number

    asked = []

    def makers():
        for which in range(100):
            asked.append(which)
            yield partial(counted, which)

    items = side_by_side(makers(), threads=threads, ahead=4, depth=2)
    next(items)
    time.sleep(0.3)
    assert len(asked) == 4
    # In each running generator: those that wait, the one in hand and, of the first, the one taken.
    assert len(made) <= 3 * threads + 1
    items.close()


def test_an_error_comes_in_its_place_and_ends_the_rest():
    def fails():
        yield "last"
        raise OSError("gone")

    items = side_by_side(
        [partial(numbers, 0, 1), fails, partial(numbers, 2, 10**9)], threads=2, ahead=3, depth=1
    )
    assert [next(items), next(items)] == [(0, 0), "last"]
    with pytest.raises(OSError, match="gone"):
        next(items)


def test_closing_early_ends_the_threads():
    before = threading.active_count()
    items = side_by_side(
        (partial(numbers, n, 10**9) for n in range(10**9)), threads=2, ahead=3, depth=1
    )
    next(items)
    items.close()
    assert threading.active_count() == before


def test_threads_are_a_few():
    assert 1 <= num_threads() <= 8
    assert list(side_by_side([], threads=2, ahead=2, depth=1)) == []


def test_at_a_pause_all_that_came_before_is_passed_on_before_more_is_asked_for():
    got = []

    def makers():
        yield partial(numbers, 0, 2, 0.02)
        yield partial(numbers, 1, 1)
        yield PAUSE
        # Asking may block from here on: nothing that came before may wait for it.
        assert got == [(0, 0), (0, 1), (1, 0), PAUSE]
        yield partial(numbers, 2, 1)
        yield PAUSE

    for item in side_by_side(makers(), threads=2, ahead=4, depth=1):
        got.append(item)
    assert got == [(0, 0), (0, 1), (1, 0), PAUSE, (2, 0), PAUSE]
