"""When a batch waits for further windows, and when it does not."""

import threading
import time

import pytest

from cign.serving.batching import Batcher, RequestOptions

OPTIONS = RequestOptions(snapshot=None, name="clip")


@pytest.fixture
def batches():
    """Starts a batcher, and collects its batches."""
    started, found = [], []

    class Collecting(Batcher):
        def _results(self, works):
            found.append([work.decoded for work in works])
            return [None] * len(works)

    def start(**options):
        started.append(Collecting(None, **{"max_batch": 4, "max_wait_s": 60.0, **options}))
        return started[-1], found

    yield start
    for one in started:
        one.close()


def test_a_window_that_no_other_follows_is_computed_at_once(batches):
    batcher, found = batches()
    batcher.submit(OPTIONS, 1).result(timeout=5)
    over = batcher.expect()
    future = batcher.submit(OPTIONS, 2)
    over()
    future.result(timeout=5)
    assert found == [[1], [2]]


def test_windows_that_are_expected_join_the_batch(batches):
    batcher, found = batches()
    first, second = batcher.expect(), batcher.expect()
    one = batcher.submit(OPTIONS, 1)
    first()
    time.sleep(0.05)
    assert not one.done()
    two = batcher.submit(OPTIONS, 2)
    second()
    for future in (one, two):
        future.result(timeout=5)
    assert found == [[1, 2]]


def test_a_full_batch_does_not_wait(batches):
    batcher, found = batches()
    batcher.expect()
    futures = [batcher.submit(OPTIONS, number) for number in range(9)]
    for future in futures[:8]:
        future.result(timeout=5)
    assert [len(one) for one in found[:2]] == [4, 4]
    assert not futures[8].done()  # is closed by the fixture, which computes it


def test_the_wait_is_bounded(batches):
    batcher, found = batches(max_wait_s=0.05)
    batcher.expect()  # and nothing follows
    began = time.monotonic()
    batcher.submit(OPTIONS, 1).result(timeout=5)
    assert 0.04 < time.monotonic() - began < 4
    assert found == [[1]]


def test_the_end_is_counted_once(batches):
    batcher, _ = batches()
    over = batcher.expect()
    other = batcher.expect()
    threads = [threading.Thread(target=over) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    future = batcher.submit(OPTIONS, 1)
    time.sleep(0.05)
    assert not future.done()  # the other one is still expected
    other()
    future.result(timeout=5)
