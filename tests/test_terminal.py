"""Progress is sparse in logs, a bar on terminals, and never on standard output."""

import io
import itertools
import re
import sys

import pytest

from cign.utils import terminal
from cign.utils.progress import Measuring
from cign.utils.terminal import (
    BarProgress,
    PlainProgress,
    make_progress,
    note,
    say,
    show_table,
)
from cign.utils.wording import duration, value_text
from toy import FAST, toy_loop


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
        "steps: 3 of 9, 0.25/s, 24 s left",
        "steps: 6 of 9, 0.25/s, 12 s left",
        "steps: 9 of 9, 0.25/s, 0 s left",
    ]


def test_plain_progress_shows_what_is_measured(monkeypatch):
    """A run that was resumed at step 500: what was done before does not count in the rate."""
    clock = iter([0, *range(0, 1000, 5)])
    monkeypatch.setattr(terminal.time, "monotonic", lambda: float(next(clock)))
    stream, asked = io.StringIO(), []
    progress = PlainProgress(stream)
    assert isinstance(progress, Measuring)
    progress.start("task 1/4 train", 2000)
    progress.measure("steps", lambda: asked.append(1) or f"loss {1 / len(asked):g}")
    progress.advance(500)
    for _ in range(4):
        progress.advance(125)
    assert len(asked) == 2  # for a line alone: the value has to be waited for
    progress.stop()
    assert stream.getvalue().splitlines() == [
        "task 1/4 train: 750 of 2000 steps, 25 steps/s, loss 1, 50 s left",
        "task 1/4 train: 1000 of 2000 steps, 25 steps/s, loss 0.5, 40 s left",
        "task 1/4 train: 1000 of 2000, 25.0 s, loss 0.333333",
    ]


def test_high_rates_are_whole_numbers(monkeypatch):
    clock = iter([0, 0, 10])
    monkeypatch.setattr(terminal.time, "monotonic", lambda: float(next(clock)))
    stream = io.StringIO()
    progress = PlainProgress(stream)
    progress.start("clips", 90_000)
    progress.advance(0)
    progress.advance(45_678)
    assert stream.getvalue() == "clips: 45678 of 90000, 4568/s, 10 s left\n"


@pytest.mark.parametrize(
    ("seconds", "text", "exact"),
    [
        (4.24, "4 s", "4.2 s"),
        (99.4, "99 s", "99 s"),
        (99.6, "2 min", "1 min 40 s"),
        (3599, "60 min", "59 min 59 s"),
        (7199, "2 h 00 min", "2 h 00 min"),
        (11100, "3 h 05 min", "3 h 05 min"),
    ],
)
def test_durations(seconds, text, exact):
    assert (duration(seconds), duration(seconds, exact=True)) == (text, exact)


def test_values_of_options_are_written_as_in_yaml():
    values = (None, True, 20.0, 1 / 3, 5, "mean", [0.5, None])
    assert [value_text(value) for value in values] == [
        *("null", "true", "20", "0.333333", "5", "mean", "[0.5, null]"),
    ]


def test_bar_shows_rate_and_loss_at_most_once_a_second(monkeypatch, capsys):
    clock = iter(x / 4 for x in range(0, 1000))
    now = [0.0]

    def tick():
        now[0] = next(clock)
        return now[0]

    asked = []
    progress = BarProgress()
    monkeypatch.setattr(terminal.time, "monotonic", tick)
    progress.start("task 1/4 train", 40)
    progress.measure("steps", lambda: asked.append(now[0]) or "loss 0.25")
    for _ in range(40):
        progress.advance()
    assert 5 < len(asked) <= 11
    assert min(b - a for a, b in itertools.pairwise(asked)) >= 1.0
    progress.stop()
    assert "3.9 steps/s, loss 0.25" in capsys.readouterr().err


def test_the_loss_of_training_is_shown(monkeypatch):
    """The mean of the epoch so far, then that of the last one, as the loop keeps it."""
    clock = iter(range(0, 10**6, 11))  # every step is worth a line
    monkeypatch.setattr(terminal.time, "monotonic", lambda: float(next(clock)))
    stream = io.StringIO()
    loop = toy_loop("finetune", options=FAST, num_tasks=2)
    loop.progress = PlainProgress(stream)
    loop.run()
    lines = stream.getvalue().splitlines()
    of_first = [line for line in lines if line.startswith("task 1/2 train: ")]
    assert all(
        re.search(r" of \d+ steps, .*, loss \d\.\d+, \d+ s left$", x) for x in of_first[1:-1]
    )
    terms = {k: v for k, v in loop.losses[1].items() if k not in ("task", "phase", "epoch")}
    assert of_first[-1].endswith(f" s, loss {sum(terms.values()):.4g}")


def test_a_closed_form_has_no_loss_to_show():
    stream = io.StringIO()
    loop = toy_loop("analytic", options={"width": 20}, num_tasks=2)
    loop.progress = PlainProgress(stream)
    loop.run()
    assert "loss" not in stream.getvalue()


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


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_sentences_are_broken_between_words_on_terminals_only(monkeypatch):
    monkeypatch.setenv("COLUMNS", "30")
    text = "  name = the share of a-long-hyphenated-word that fits, " + "x" * 40
    for name, show, begin in (("stdout", say, ""), ("stderr", note, "cign: ")):
        stream = Terminal()
        monkeypatch.setattr(sys, name, stream)
        if show is say:
            show(text, fit=True)
        else:
            show(text.strip())
        first, *others = stream.getvalue().splitlines()
        margin = "    " if show is say else "  "
        assert " ".join([first, *(line.strip() for line in others)]).strip() == begin + text.strip()
        assert all(line.startswith(margin) and line[len(margin)] != " " for line in others)
        assert [line for line in (first, *others) if len(line) > 30] == [margin + "x" * 40]
        pipe = io.StringIO()
        monkeypatch.setattr(sys, name, pipe)
        show(text)
        assert pipe.getvalue() == f"{begin}{text}\n"
    # What a program reads is not broken on a terminal either.
    stream = Terminal()
    monkeypatch.setattr(sys, "stdout", stream)
    say(text)
    assert stream.getvalue() == f"{text}\n"


def test_tables_are_not_cut_in_pipes(capsys):
    long = "x" * 300
    show_table(("name", "value"), [(long, 1.5), ("[red]b[/red]", None)])
    out = capsys.readouterr().out
    assert long in out
    assert "[red]b[/red]" in out
    assert out.splitlines()[-1].endswith("-")
