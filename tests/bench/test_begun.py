"""A bench that was begun goes on although its stores gain or lose tokens that no run has read."""

import dataclasses
import json

import pytest

from cign.bench import BenchConfig
from cign.bench.config import begin, read_entries
from cign.bench.grid import Part
from cign.errors import InputError
from cign.methods.finetune import HeadsOptions
from cign.methods.phases import TrainingOptions
from cign.utils.files import read_json
from refusals import input_error

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


def methods(**training):
    options = dataclasses.asdict(HeadsOptions(training=TrainingOptions(**training)))
    return {"methods": {"finetune": ["finetune", options]}}


def test_options_that_came_later_have_their_default(tmp_path):
    begun = methods(num_epochs=3)
    del begun["methods"]["finetune"][1]["training"]["encoder_rate"]
    begin(tmp_path, begun)
    with input_error("resume-mismatch", "other options of method finetune"):
        begin(tmp_path, methods(num_epochs=3, encoder_rate=0.5))
    with input_error("resume-mismatch", "other options of method finetune"):
        begin(tmp_path, methods(num_epochs=4))
    begin(tmp_path, methods(num_epochs=3))
    assert read_json(tmp_path / "bench.json", "bench")["config"] == methods(num_epochs=3)


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


def only(names, **parts):
    options = methods()["methods"]["finetune"]
    written = {name: dataclasses.asdict(Part.parse(f"x:{text}")[1]) for name, text in parts.items()}
    return json.loads(json.dumps({"methods": dict.fromkeys(names, options), "only": written}))


def test_a_method_that_comes_later_may_have_a_part_of_its_own_and_the_others_keep_theirs(tmp_path):
    begin(tmp_path, only(["joint"], joint="tasks=2"))
    begin(tmp_path, only(["joint", "replay"], joint="tasks=2", replay="memory=8"))
    for parts, text in (
        ({"joint": "tasks=2", "replay": "tasks=2"}, "replay:memory=8, not"),
        ({"replay": "memory=8"}, "joint:tasks=2 replay:memory=8, not replay:memory=8"),
    ):
        with pytest.raises(InputError, match=text):
            begin(tmp_path, only(["joint", "replay"], **parts))


def test_a_part_does_not_leave_out_what_was_run(tmp_path):
    begin(tmp_path, only(["joint"]))
    with input_error("resume-mismatch", "--only none, not joint:tasks=2"):
        begin(tmp_path, only(["joint"], joint="tasks=2"))


@pytest.mark.parametrize(
    ("regime", "rate", "balanced"), [("frozen", 1.0, 1.0), ("end-to-end", 0.12, 0.03)]
)
def test_a_rate_of_encoders_is_no_part_of_runs_on_cached_tokens(regime, rate, balanced, tmp_path):
    grid = BenchConfig(
        stores=(tmp_path,), methods=("podnet", "analytic"), tasks=(4,), settings={"regime": regime}
    )
    podnet, analytic = read_entries(grid)
    assert podnet.options["training"]["encoder_rate"] == rate
    assert podnet.options["balanced_training"]["encoder_rate"] == balanced
    assert analytic.options["adaptation"]["encoder_rate"] == 1.0
