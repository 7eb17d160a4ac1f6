"""Progress is shown by default in a terminal and a notebook, and nowhere else."""

import io
import sys
from types import SimpleNamespace

import pytest

from cign import Learner, prepare
from cign.backbones.registry import load_backbone
from cign.utils.display import LineProgress, displayed, is_notebook
from cign.utils.progress import Silent
from cign.utils.terminal import BarProgress, PlainProgress


class Screen(io.StringIO):
    """A standard error that is a terminal or not."""

    def __init__(self, is_terminal):
        super().__init__()
        self.isatty = lambda: is_terminal


@pytest.fixture
def screen(monkeypatch):
    def install(is_terminal=False, *, notebook=False):
        stream = Screen(is_terminal)
        monkeypatch.setattr(sys, "stderr", stream)
        shell = SimpleNamespace(kernel=object()) if notebook else SimpleNamespace()
        monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
        return stream

    return install


@pytest.mark.parametrize(
    ("where", "progress", "kind"),
    [
        ({"is_terminal": True}, None, BarProgress),
        ({"is_terminal": False}, None, Silent),
        ({"notebook": True}, None, LineProgress),
        ({"is_terminal": True}, False, Silent),
        ({"notebook": True}, False, Silent),
        ({"is_terminal": False}, True, PlainProgress),
    ],
)
def test_what_is_shown_where(screen, where, progress, kind):
    screen(**where)
    assert is_notebook() == where.get("notebook", False)
    with displayed(progress) as shown:
        assert isinstance(shown, kind)


def test_ones_own_progress_is_neither_replaced_nor_stopped():
    stopped = []
    own = SimpleNamespace(stop=lambda: stopped.append(True))
    with displayed(own) as shown:
        assert shown is own
    assert stopped == []


def test_a_line_is_written_over_and_ends_with_its_time(monkeypatch):
    clock = iter(range(0, 1000, 2))
    monkeypatch.setattr("cign.utils.display.time.monotonic", lambda: float(next(clock)))
    stream = io.StringIO()
    line = LineProgress(stream)
    line.start("predicting", 4)
    line.advance()
    line.note("a remark")
    line.advance(3)
    line.stop()
    line.stop()
    parts = stream.getvalue().split("\r")
    assert parts[1] == "predicting: 0 of 4"
    assert parts[2].startswith("predicting: 1 of 4, about ")
    assert parts[3].rstrip() == "a remark"
    assert parts[-1].rstrip().startswith("predicting: 4 of 4, ")
    assert parts[-1].rstrip(" \n").endswith(" s")
    assert stream.getvalue().endswith("\n")


def test_learner_and_prepare_show_their_progress_in_a_notebook(screen, tiny, tmp_path):
    stream = screen(notebook=True)
    backbone = load_backbone("small-random")
    prepare(tiny[0], tmp_path / "store", backbone=backbone, num_workers=0)
    assert "decoding: 44 of 44" in stream.getvalue()
    learner = Learner("analytic", options={"width": 20}).learn(tmp_path / "store")
    assert "task" in stream.getvalue()
    clips = sorted(map(str, (tiny[0] / "test").rglob("*.mp4")))[:3]
    learner.predict(clips).all()
    assert "predicting: 3 of 3" in stream.getvalue()


def test_nothing_is_shown_where_it_is_not_wanted(screen, tiny):
    stream = screen(notebook=True)
    learner = Learner("analytic", options={"width": 20}).learn(tiny[1], progress=False)
    clips = sorted(map(str, (tiny[0] / "test").rglob("*.mp4")))[:3]
    learner.predict(clips, progress=False).all()
    learner.predict(clips[0]).one()  # of one file there is nothing to show
    learner.predict(iter(clips)).all()  # their number is not known
    screen(is_terminal=False)
    learner.predict(clips).all()
    assert stream.getvalue() == ""
