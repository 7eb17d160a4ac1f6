"""Progress is sparse in logs, a bar on terminals, and never on standard output."""

import io
import sys

import pytest

from cign import terminal
from cign.terminal import BarProgress, PlainProgress, make_progress, note, say, show_table


def test_plain_progress_ends_each_stage_with_a_line():
    stream = io.StringIO()
    progress = PlainProgress(stream)
    progress.start("decoding", 3)
    for _ in range(3):
        progress.advance()
    progress.start("tokens", 2)
    progress.advance(2)
    progress.note("a remark")
    progress.stop()
    progress.stop()
    lines = [line.rsplit(",", 1)[0] for line in stream.getvalue().splitlines()]
    assert lines == ["decoding: 3 of 3", "a remark", "tokens: 2 of 2"]


def test_plain_progress_speaks_every_ten_seconds(monkeypatch):
    clock = iter(range(0, 1000, 4))
    monkeypatch.setattr(terminal.time, "monotonic", lambda: float(next(clock)))
    stream = io.StringIO()
    progress = PlainProgress(stream)
    progress.start("steps", 9)
    for _ in range(9):
        progress.advance()
    assert stream.getvalue().splitlines() == [
        "steps: 3 of 9",
        "steps: 6 of 9",
        "steps: 9 of 9",
    ]


def test_bar_progress_goes_through_several_stages(capsys):
    progress = BarProgress()
    for title in ("one", "two [b]"):
        progress.start(title, 2)
        progress.advance(2)
    progress.note("[a] remark")
    progress.stop()
    progress.stop()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "[a] remark" in captured.err


@pytest.mark.parametrize(("is_terminal", "kind"), [(True, BarProgress), (False, PlainProgress)])
def test_bar_on_terminals_only(monkeypatch, is_terminal, kind):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal)
    assert isinstance(make_progress(), kind)
    terminal.restore()


def test_answers_and_remarks_go_different_ways(capsys):
    say("answer")
    note("remark")
    captured = capsys.readouterr()
    assert captured.out == "answer\n"
    assert captured.err == "cign: remark\n"


def test_tables_are_not_cut_in_pipes(capsys):
    long = "x" * 300
    show_table(("name", "value"), [(long, 1.5), ("[red]b[/red]", None)])
    out = capsys.readouterr().out
    assert long in out
    assert "[red]b[/red]" in out
    assert out.splitlines()[-1].endswith("-")
