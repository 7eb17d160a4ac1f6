"""`cign methods`: derived from classes, options and recipes, for every method."""

import dataclasses
import json

import pytest

from cign.methods import METHODS, default_recipe
from cign.methods.catalogue import CAPABILITIES, describe_method
from cign.methods.phases import TrainingOptions
from cign.utils.options import configure, with_settings


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_described_completely(name):
    info = describe_method(name)
    assert info.name == name
    assert info.summary.endswith(".")
    assert info.capabilities.keys() == CAPABILITIES.keys()
    filled = configure(METHODS[name].Options, default_recipe(name).options, "recipe")
    leaves = dict(_leaves(dataclasses.asdict(filled)))
    assert {one.name for one in info.options} == leaves.keys()
    for one in info.options:
        assert one.meaning, f"{name}: {one.name} is not described in the docstring"
        assert one.value == leaves[one.name], one.name
        for value in one.allowed:
            options = {**default_recipe(name).options}
            assert with_settings(options, [f"{one.name}={value}"])


def _leaves(options, prefix=""):
    for name, value in options.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, list(value) if isinstance(value, tuple) else value


def test_capabilities_of_three_methods():
    closed, icarl, joint = map(describe_method, ("cign_analytic", "icarl", "joint"))
    assert closed.capabilities["memory"] == "none"
    for name in ("multi_label", "weights", "background", "add_and_remove", "merge_and_forget"):
        assert closed.capabilities[name] is True
        assert icarl.capabilities[name] is False
    assert closed.capabilities["maps"]
    assert icarl.capabilities["memory"] == "needs"
    assert joint.capabilities["replays_everything"]
    schedule = next(o for o in joint.options if o.name == "training.schedule")
    assert schedule.allowed == ("constant", "cosine", "one_cycle")
    assert (schedule.default, schedule.value) == (TrainingOptions().schedule, "cosine")
    classes = next(o for o in describe_method("lwf").options if o.name == "classes")
    assert classes.source.startswith("Li & Hoiem 2016")


def test_the_command_lists_and_describes(cign, monkeypatch):
    code, out, _ = cign("methods")
    assert code == 0
    assert all(f"{name}: " in out for name in METHODS)
    code, out, _ = cign("methods", "lwf")
    assert code == 0
    assert "training.encoder_rate: 0.03 (default 1; number)" in out
    assert "form: sigmoid (default softmax; softmax|sigmoid)" in out
    code, out, _ = cign("methods", "lwf", "--json")
    assert json.loads(out)["name"] == "lwf"
    assert [one["name"] for one in json.loads(cign("methods", "--json")[1])] == list(METHODS)
    code, _, err = cign("methods", "nothing")
    assert code == 2
    assert "unknown method 'nothing'" in err


def test_a_method_of_the_users_own_is_described(cign, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "own_method.py").write_text(
        '"""Own method."""\n'
        "from cign.methods.finetune import Finetune\n\n\n"
        'class Own(Finetune):\n    """Fine-tuning, once more."""\n'
    )
    code, out, err = cign("methods", "own_method:Own")
    assert code == 0, err
    assert "own_method:Own: Fine-tuning, once more." in out
