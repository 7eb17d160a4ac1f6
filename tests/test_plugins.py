"""Methods and backbones of other packages: found, trained, benchmarked, saved, predicted with."""

import dataclasses
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch

from cign.backbones.registry import load_backbone
from cign.errors import InputError
from cign.methods import METHODS, default_recipe, method_class, register_method
from cign.methods.finetune import Finetune
from cign.utils.plugins import CONTRACT, Registry
from refusals import input_error
from toy import toy_loop

PLUGINS = Path(__file__).parents[1] / "examples" / "plugins"
TRAINING = {"training": {"num_epochs": 2, "batch_size": 8}}


@pytest.fixture
def on_path(monkeypatch):
    """The examples' folder on the path; what they register is gone afterwards."""
    monkeypatch.syspath_prepend(str(PLUGINS))
    before = dict(METHODS)
    yield
    for name in set(METHODS) - set(before):
        del METHODS[name]
    for name in ("derpp", "gem", "flat_backbone"):
        sys.modules.pop(name, None)


def cign_outside(*arguments, cwd, path=PLUGINS):
    """The command line in a process of its own, which knows nothing of this one's registry."""
    root = str(Path(__file__).parents[1] / "src")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, str(path)])}
    command = [sys.executable, "-m", "cign", *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=cwd, timeout=300
    )
    assert "Traceback" not in done.stderr
    return done


def test_a_method_and_a_backbone_of_another_folder_go_the_whole_way(tiny, tmp_path):
    clips, _ = tiny

    listed: dict[str, list[str]] = {}
    for path in sorted(clips.rglob("*.mp4")):
        listed.setdefault(path.parent.name, []).append(str(path.relative_to(clips)))
    (clips.parent / "classes.json").write_text(json.dumps(listed))

    def run(*arguments):
        done = cign_outside(*arguments, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout

    (tmp_path / "recipe.yaml").write_text(
        "method: derpp:DerPlusPlus\noptions: {training: {num_epochs: 2, batch_size: 8}}\n"
    )
    source = (clips.parent / "classes.json", "--media", clips, "--format")
    with_parts = (*source, "json_format:read_json_classes", "--backbone", "flat_backbone:Flat")
    run("prepare", with_parts[0], "store", *with_parts[1:], "--workers", 0)
    arguments = "--out run --recipe recipe.yaml --tasks 2 --memory 8"
    run("train", "store", *arguments.split())
    about = json.loads((tmp_path / "run" / "model" / "model.json").read_text())
    assert about["method"] == "derpp:DerPlusPlus"
    clip = sorted((clips / "test").rglob("*.mp4"))[0]
    (said,) = json.loads(run("predict", "run", clip, "--json", "--explain", "pictures"))
    assert said["label"] in {entry["name"] for entry in about["classes"]}
    assert list((tmp_path / "pictures").iterdir())
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "der.yaml").write_text((tmp_path / "recipe.yaml").read_text())
    (tmp_path / "recipes" / "analytic.yaml").write_text("method: analytic\noptions: {width: 50}\n")
    bench = "bench store --out bench --methods der,analytic --tasks 2 --memory 8 --recipes recipes"
    run(*bench.split(), "--against", "analytic", "--workers", 2)
    table = (tmp_path / "bench" / "table.csv").read_text()
    assert {line.split(",")[0] for line in table.splitlines()[1:]} == {"der", "analytic"}
    # Where the folder is not on the path, the model says what is missing.
    other = cign_outside("predict", "run", clip, cwd=tmp_path, path=tmp_path)
    assert other.returncode == 2
    assert "method 'derpp:DerPlusPlus' cannot be imported (ModuleNotFoundError" in other.stderr
    assert "PYTHONPATH" in other.stderr


@pytest.mark.parametrize("reference", ["derpp:DerPlusPlus", "gem:Gem"])
def test_a_stopped_run_of_another_folders_method_resumes_to_the_same_bits(
    reference, on_path, tmp_path
):
    def make(folder, **more):
        return toy_loop(
            reference, options=TRAINING, memory="12", folder=tmp_path / folder, seed=3, **more
        )

    whole = make("whole")
    whole.run()
    stopped = make("stopped", checkpoint_every_s=0, stop_after=whole._steps_done // 2)
    stopped.run()
    again = make("stopped")
    again.predictions = type(again.predictions).load(again.predictions_path)
    again.resume()
    again.run()
    for key, value in whole.method.state_dict().items():
        assert torch.equal(again.method.state_dict()[key], value), key
    assert again.memory.indices.tolist() == whole.memory.indices.tolist()
    for ours, theirs in zip(again.predictions.scores, whole.predictions.scores, strict=True):
        np.testing.assert_array_equal(ours["audio_visual"], theirs["audio_visual"])


def test_a_reservoir_holds_each_clip_with_the_same_probability(on_path):
    counts = np.zeros(72)
    for seed in range(60):
        loop = toy_loop("derpp:DerPlusPlus", options=TRAINING, memory="12", seed=seed)
        method = loop.method
        for task in range(3):
            data = loop._task_data(task)
            method.grow(data.num_new)
            method.choose_exemplars(loop.memory, data)
            assert len(loop.memory.indices) == 12
        counts[loop.memory.indices] += 1
    train = loop.train
    assert counts.sum() == 60 * 12
    expected = 60 * 12 / len(train)
    chi_square = ((counts[train] - expected) ** 2 / expected).sum()
    assert chi_square < 1.5 * len(train)  # its mean is about len(train)
    assert (counts[train] > 0).all()


def test_projected_gradients_agree_with_those_of_every_earlier_task(on_path):
    loop = toy_loop("gem:Gem", options=TRAINING, memory="12", seed=1)
    method = loop.method
    seen = []
    project = method.after_backward

    def checked(optimizer):
        weights = [w for group in optimizer.param_groups for w in group["params"]]
        before = torch.cat([w.grad.reshape(-1) for w in weights])
        project(optimizer)
        if not len(method.data.memory):
            return
        after = torch.cat([w.grad.reshape(-1) for w in weights])
        earlier = torch.stack([method._gradient(t, weights) for t in range(method.data.task)])
        scale = earlier.norm(dim=1) * after.norm()
        assert bool((earlier @ after >= -1e-4 * scale).all())
        seen.append(not torch.equal(before, after))

    method.after_backward = checked
    loop.run()
    assert any(seen)


def test_a_reference_finds_the_method_again(on_path):
    cls = method_class("derpp:DerPlusPlus")
    assert METHODS.reference(cls) == "derpp:DerPlusPlus"
    assert cls.name == "derpp_reservoir"
    assert method_class("derpp_reservoir") is cls
    assert METHODS.reference(method_class("bic")) == "bic"
    assert load_backbone("flat_backbone:Flat@pooled").num_visual_tokens == 1


def test_a_name_that_is_taken_is_refused():
    with input_error("name-taken", "'bic'", "cign.methods.bic:Bic"):

        @register_method("bic")
        class Other(Finetune):
            pass

    assert method_class("bic").__module__ == "cign.methods.bic"


def test_another_contract_is_refused():
    wanted = rf"'later' was written for contract {CONTRACT + 1}, but this version .* {CONTRACT}: "
    with pytest.raises(InputError, match=wanted):

        @register_method("later", contract=CONTRACT + 1)
        class Later(Finetune):
            pass

    assert "later" not in METHODS


@pytest.mark.parametrize(
    ("source", "attribute", "said"),
    [
        ("raise RuntimeError('boom')", "X", r"cannot be imported \(RuntimeError: boom\)"),
        ("", "X", r"cannot be imported \(AttributeError: "),
        ("X = 3", "X", "is not a method: make it a subclass"),
        (
            """
            from cign.methods.base import Method
            class X(Method):
                class Options: pass
            """,
            "X",
            "has no dataclass Options",
        ),
        (
            """
            from dataclasses import dataclass
            from cign.methods.base import Method
            @dataclass
            class O: pass
            class X(Method):
                Options = O
            """,
            "X",
            "does not define embed, learn, phases, predict",
        ),
    ],
)
def test_what_is_no_method_is_refused_in_one_sentence(
    source, attribute, said, tmp_path, monkeypatch
):
    (tmp_path / "odd_plugin.py").write_text(textwrap.dedent(source))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "odd_plugin", raising=False)
    with pytest.raises(InputError, match=said) as error:
        method_class(f"odd_plugin:{attribute}")
    assert "\n" not in str(error.value)


def test_entry_points_are_found_by_their_name(on_path, monkeypatch):
    class Entry:
        name, value = "der", "derpp:DerPlusPlus"

    def entry_points(*, group, name=None):
        return [Entry] if group == "cign.methods" and name in (None, "der") else []

    monkeypatch.setattr("cign.utils.plugins.importlib.metadata.entry_points", entry_points)
    registry = Registry("method", "cign.methods", lambda what, part: None)
    assert registry.names == ["der"]
    found = registry.find("der")
    assert found.__name__ == "DerPlusPlus"
    assert registry.reference(found) == "der"


class Extended(Finetune):
    """Options of `finetune`."""


class Widened(Finetune):
    """Options of its own."""

    Options = dataclasses.make_dataclass(
        "WidenedOptions", [], bases=(Finetune.Options,), frozen=True
    )


def test_a_method_without_own_options_uses_the_recipe_of_the_method_it_extends(monkeypatch):
    here = Extended.__module__
    monkeypatch.setitem(sys.modules, here, sys.modules[__name__])
    extended = default_recipe(f"{here}:Extended")
    assert extended.method == f"{here}:Extended"
    assert extended.options == default_recipe("finetune").options
    assert extended.options != {}
    assert extended.tuning == {}
    assert default_recipe(f"{here}:Widened").options == {}
