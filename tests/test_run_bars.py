"""A bench on a terminal is bars, in a log it is lines; never on standard output."""

import io
import sys

import pytest

from cign.cli import run_bars
from cign.cli.run_bars import RunBars, RunLines, make_run_view
from cign.utils import terminal


def play(view):
    view.begin(4, 1)
    view.moved("first", "task 1/2 train", 3, 10)
    view.moved("second", "task 2/2 train", 4, 10)
    view.moved("first", "task 1/2 test", 10, 10)
    view.ended("first", 12.4, None)
    view.ended("second", 3.0, "the loss is not finite")
    view.stop()
    view.stop()


def test_lines_tell_of_each_end(monkeypatch):
    """And of the time left: 2 runs as long as the one that took 12 s, then 15 s a run."""
    clock = [0.0]
    monkeypatch.setattr(run_bars.time, "monotonic", lambda: clock[0])
    stream = io.StringIO()
    view = RunLines(stream)
    view.begin(4, 1)
    clock[0] = 12.0
    view.ended("first", 12.4, None)
    clock[0] = 15.0
    view.ended("second", 3.0, "the loss is not finite")
    view.ended("third", 3.0, None)
    view.ended("fourth", 0.0, None)
    assert stream.getvalue().splitlines() == [
        "1 of 4 runs done before",
        "first, 12 s, 2 of 4 done, about 24 s left",
        "second, 3 s, failed: the loss is not finite, about 30 s left",
        "third, 3 s, 3 of 4 done, about 8 s left",
        "fourth, 0 s, 4 of 4 done",
    ]


def test_lines_tell_now_and_then_what_is_going_on(monkeypatch):
    clock = iter(range(0, 1000, 20))
    monkeypatch.setattr(run_bars.time, "monotonic", lambda: float(next(clock)))
    stream = io.StringIO()
    view = RunLines(stream)
    for done in range(4):
        view.moved("first", "task 1/2 train", done, 10)
    told = [f"first: task 1/2 train, {done} of 10" for done in (1, 3)]
    assert stream.getvalue().splitlines() == told


def test_bars_go_to_standard_error(capsys):
    play(RunBars())
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "second failed: the loss is not finite" in captured.err
    assert "2/4" in captured.err


@pytest.mark.parametrize(("is_terminal", "kind"), [(True, RunBars), (False, RunLines)])
def test_bars_on_terminals_only(monkeypatch, is_terminal, kind):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal)
    assert isinstance(make_run_view(), kind)
    terminal.restore()


def test_the_device_is_shown_when_the_runs_begin(capsys):
    """Not before: a bench that is refused shows its sentence alone."""
    view = make_run_view("cpu")
    assert capsys.readouterr().err == ""
    view.begin(4, 1)
    view.ended("first", 0.0, None)
    terminal.restore()
    first, second, *_ = capsys.readouterr().err.splitlines()
    assert first.startswith("device: cpu, ")
    assert second == "1 of 4 runs done before"
