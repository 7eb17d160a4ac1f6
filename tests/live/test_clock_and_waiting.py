"""The clock of a stream, and which windows are dropped."""

import threading
import time

import numpy as np

from cign.data.media.live.clock import LiveClock
from cign.data.media.live.waiting import MOST_WAITING, Item, Waiting


def place(clock, packets):
    """Times of packets (stream, timestamp, arrival), each 0.1 s long."""
    return [
        round(at + clock.shift_s(stream, (at, at, at + 0.1), arrival), 3)
        for stream, at, arrival in packets
    ]


def test_the_origin_is_time_0_and_order_is_kept():
    assert place(LiveClock(5.0), [(0, 5.0, 0), (1, 5.0, 0), (0, 5.1, 0.1)]) == [0.0, 0.0, 0.1]
    assert place(LiveClock(5.0, 30.0), [(0, 5.0, 0), (0, 5.1, 0.1)]) == [30.0, 30.1]


def test_without_an_origin_the_first_packet_counts_or_its_arrival():
    assert place(LiveClock(None), [(0, 700.0, 3)]) == [0.0]
    assert place(LiveClock(None, 10.0, since_s=100.0), [(0, 700.0, 100.5)]) == [10.5]


def test_timestamps_that_restart_go_on_at_the_end_for_both_streams():
    clock = LiveClock(0.0)
    before = [(stream, at, at) for at in (0.0, 0.1, 0.2) for stream in (0, 1)]
    after = [(0, 500.0, 0.3), (1, 0.3, 0.3), (0, 500.1, 0.4), (1, 500.1, 0.4)]
    assert place(clock, before)[-2:] == [0.2, 0.2]
    assert place(clock, after) == [0.3, 0.3, 0.4, 0.4]
    assert clock.num_jumps == 1
    assert place(clock, [(0, 0.0, 0.5), (1, 0.0, 0.5)]) == [0.5, 0.5]
    assert clock.num_jumps == 2


def test_a_pause_that_took_its_time_remains():
    clock = LiveClock(0.0)
    assert place(clock, [(0, 0.0, 0.0), (0, 60.0, 60.0), (0, 60.1, 60.1)]) == [0.0, 60.0, 60.1]
    assert clock.num_jumps == 0


def put_all(waiting, numbers, patience_s=0.0, source=0):
    for number in numbers:
        waiting.put_window(Item(source=source, window=number), patience_s)


def test_the_newest_windows_are_kept_and_the_dropped_ones_counted():
    waiting = Waiting(2)
    put_all(waiting, range(10))
    put_all(waiting, [100], source=1)
    taken = waiting.take(16, 0)
    assert [(one.source, one.window) for one in taken] == [(0, 8), (0, 9), (1, 100)]
    assert [one.num_dropped for one in taken] == [8, 0, 0]
    put_all(waiting, [10])
    assert [one.num_dropped for one in waiting.take(16, 0)] == [0]


def test_dropped_windows_and_passed_ones_are_all_windows():
    draw, waiting, passed = np.random.default_rng(0), Waiting(1), []
    for number in range(500):
        put_all(waiting, [number])
        if draw.random() < 0.2:
            passed += waiting.take(int(draw.integers(1, 6)), 0)
    passed += waiting.take(16, 0)
    assert len(passed) + sum(one.num_dropped for one in passed) == 500
    expected = -1
    for one in passed:
        expected += 1 + one.num_dropped
        assert one.window == expected


def test_a_source_faster_than_time_waits_instead():
    waiting, taken = Waiting(1), []
    thread = threading.Thread(target=put_all, args=(waiting, range(20), 10.0))
    thread.start()
    while len(taken) < 20:
        found = waiting.take(3, 1.0)
        assert len(found) <= MOST_WAITING
        taken += found
        time.sleep(0.005)
    thread.join()
    assert [one.window for one in taken] == list(range(20))
    assert not any(one.num_dropped for one in taken)


def test_remarks_and_ends_come_after_the_windows_before_them():
    waiting = Waiting(1)
    put_all(waiting, [1, 2, 3])
    waiting.put(Item(source=0, is_end=True))
    assert [one.window for one in waiting.take(2, 0)] == [1, 2]
    last = waiting.take(2, 0)
    assert [one.window for one in last] == [3, None]
    assert last[-1].is_end
