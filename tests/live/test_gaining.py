"""When a source counts as faster than real time: never because it catches up after a stall."""

from cign.data.media.live import source as source_module
from cign.data.media.live.source import LiveOptions, LiveSource
from cign.data.media.live.waiting import Waiting
from cign.inference.live import as_place

from .sources import SPEC


class Session:
    begun_s = 100.0


def gains(monkeypatch, arrivals):
    """What a source gains with windows (end of the window, when it arrived)."""
    one = LiveSource(as_place("tcp://127.0.0.1:9").place, 0, SPEC, LiveOptions(), Waiting(1))
    one._session_begin_s, one._current = 0.0, Session
    found = []
    for end_s, arrived_s in arrivals:
        monkeypatch.setattr(source_module.time, "monotonic", lambda at=arrived_s: at)
        found.append(one._gained_s(end_s))
    return found


def test_a_stall_and_the_burst_after_it_gain_nothing(monkeypatch):
    steady = [(float(t), 100.0 + t) for t in range(1, 61)]
    burst = [(float(t), 181.0 + t / 100) for t in range(61, 81)]  # 20 s late, then at once
    later = [(float(t), 101.0 + t) for t in range(81, 121)]
    assert max(gains(monkeypatch, steady + burst + later)) < 1


def test_a_source_faster_than_time_gains_more_and_more(monkeypatch):
    found = gains(monkeypatch, [(float(t), 100.0 + t / 10) for t in range(1, 1001)])
    assert found[10] > 3
    assert min(found[10:]) > 3


def test_a_stream_that_begins_with_a_buffer_is_at_the_speed_of_time_later(monkeypatch):
    first = [(float(t), 100.1) for t in range(1, 19)]
    found = gains(monkeypatch, first + [(float(t), 82.0 + t) for t in range(19, 120)])
    assert found[17] > 10
    assert max(found[60:]) < 1
