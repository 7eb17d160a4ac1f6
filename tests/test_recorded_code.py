"""A run records the code that made it, also if it is resumed or branched with other code."""

import pytest

from cign.learner import Learner
from cign.runs import record
from cign.training.loop import Loop
from cign.utils.code_version import code_version
from cign.utils.files import read_json, write_json

A, B = ({"version": "1.0", "commit": letter * 40, "dirty": False} for letter in "ab")
OPTIONS = {"width": 30, "batch_size": 5}


def learn(tiny, out, **how):
    return Learner("cign_analytic", options=OPTIONS).learn(tiny[1], tasks=4, out=out, **how)


def recorded(out):
    return read_json(out / "metrics.json", "metrics").get("code")


def current(monkeypatch, version):
    monkeypatch.setattr(record, "code_version", lambda: version)


def begin(tiny, out, monkeypatch):
    """A run that is interrupted after its second task."""
    score = Loop._score

    def interrupted(self, task):
        if task == 2:
            raise KeyboardInterrupt
        score(self, task)

    with monkeypatch.context() as patched:
        patched.setattr(Loop, "_score", interrupted)
        with pytest.raises(KeyboardInterrupt):
            learn(tiny, out)


def test_a_run_records_the_code_once_and_its_metrics_hold_it(tiny, tmp_path):
    learner = learn(tiny, tmp_path)
    assert recorded(tmp_path) == learner.metrics["code"] == [code_version()]
    assert learn(tiny, None).metrics["code"] == [code_version()]


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [(A, A, [A]), (A, B, [A, B]), (B | {"dirty": True}, B, [B | {"dirty": True}, B])],
    ids=["same", "other commit", "dirty before"],
)
def test_a_run_resumed_with_other_code_lists_both(
    tiny, tmp_path, monkeypatch, before, now, expected
):
    current(monkeypatch, before)
    begin(tiny, tmp_path, monkeypatch)
    assert recorded(tmp_path) == [before]
    current(monkeypatch, now)
    learn(tiny, tmp_path, resume=True)
    assert recorded(tmp_path) == expected


def test_a_run_begun_before_code_was_recorded_says_that_it_is_unknown(tiny, tmp_path, monkeypatch):
    begin(tiny, tmp_path, monkeypatch)
    metrics = read_json(tmp_path / "metrics.json", "metrics")
    del metrics["code"]
    write_json(tmp_path / "metrics.json", metrics)
    current(monkeypatch, A)
    learn(tiny, tmp_path, resume=True)
    unknown = {"version": metrics["versions"]["cign"], "commit": None, "dirty": None}
    assert recorded(tmp_path) == [unknown, A]


def test_reading_a_finished_run_again_leaves_its_code(tiny, tmp_path, monkeypatch):
    current(monkeypatch, A)
    learn(tiny, tmp_path)
    current(monkeypatch, B)
    assert learn(tiny, tmp_path, resume=True).metrics["code"] == [A]
    assert recorded(tmp_path) == [A]


def test_a_branch_lists_the_code_of_its_run(tiny, tmp_path, monkeypatch):
    current(monkeypatch, A)
    learn(tiny, tmp_path / "run", keep_tasks=True)
    current(monkeypatch, B)
    learn(tiny, tmp_path / "branch", branch_from=f"{tmp_path / 'run'}@2")
    assert recorded(tmp_path / "branch") == [A, B]
    assert recorded(tmp_path / "run") == [A]
