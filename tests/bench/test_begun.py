"""A bench that was begun goes on although its stores gain or lose tokens that no run has read."""

import pytest

from cign.bench.config import begin
from cign.errors import InputError
from cign.files import read_json

SMALL, STEM, OTHER = {"small": "a"}, {"small-stem": "b"}, {"resnet18": "c"}


def bench(tokens, backbone=None, clips="1"):
    return {"stores": {"world": {"list_hash": clips, "tokens": tokens}}, "backbone": backbone}


@pytest.mark.parametrize(
    ("was", "now"),
    [
        (bench(SMALL), bench(SMALL)),
        (bench(SMALL), bench({**SMALL, **OTHER}, "small")),  # which is to be read must be said now
        (bench({**SMALL, **STEM}), bench({**SMALL, **STEM, **OTHER}, "small")),
        (bench({**SMALL, **OTHER}, "small"), bench(SMALL, "small")),
        (bench({}, "small"), bench(SMALL, "small")),  # encoders in training read no tokens
    ],
)
def test_what_stays_true_goes_on(was, now, tmp_path):
    begin(tmp_path, was)
    begin(tmp_path, now)
    assert read_json(tmp_path / "bench.json", "bench")["config"] == now


@pytest.mark.parametrize(
    ("was", "now", "says"),
    [
        (bench(SMALL), bench({"small": "x"}), "other clips or tokens in world"),
        (bench(SMALL), bench(SMALL, clips="2"), "other clips or tokens in world"),
        (bench(SMALL), bench(OTHER), "other clips or tokens in world"),
        (bench(SMALL), bench({**SMALL, **OTHER}, "resnet18"), "--backbone None, not resnet18"),
        (bench({**SMALL, **OTHER}, "small"), bench({**SMALL, **OTHER}, "resnet18"), "--backbone"),
    ],
)
def test_what_would_mix_runs_is_refused(was, now, says, tmp_path):
    begin(tmp_path, was)
    with pytest.raises(InputError, match=says):
        begin(tmp_path, now)
    assert read_json(tmp_path / "bench.json", "bench")["config"] == was
