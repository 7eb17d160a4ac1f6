"""A run option is declared once, as a field; a resumed run keeps the values it was started with."""

import dataclasses
import inspect
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from cign import Learner
from cign.bench.bench import run_settings
from cign.bench.config import identity
from cign.bench.grid import BenchConfig
from cign.bench.plan import PlannedRun
from cign.cli.arguments import CommandParser
from cign.cli.entry_point import _find, main
from cign.cli.option_groups import heading_of
from cign.cli.run_options import add_run_options, given_run_options
from cign.errors import InputError
from cign.methods.finetune import Finetune
from cign.runs.configuration import RunConfig, run_options
from cign.runs.options import RunOption
from cign.runs.request import Request
from refusals import input_error

OTHER = {
    "regime": "end-to-end",
    "selection": "random",
    "device": "mps",
    "memory": "8",
    "stream": "fewshot",
    "blurry_share": 0.2,
}
OPTIONS = {"width": 60}
# Settings without which a bench refuses an option.
WITH = {
    "blurry_share": {"stream": "blurry"},
    "evaluations": {"stream": "online"},
    "base_classes": {"stream": "fewshot"},
    "shots": {"stream": "fewshot"},
}


def other(option):
    """An allowed value of an option that is not its default."""
    if option.name in OTHER:
        return OTHER[option.name]
    if option.kind is bool:
        return not option.default
    return "other" if option.kind is str else option.default + 1


def flags(command):
    parser = CommandParser(command, "")
    _find(command).add_options(parser)
    return {text for action in parser._actions for text in action.option_strings}


@pytest.mark.parametrize("option", run_options(), ids=lambda option: option.name)
def test_a_run_option_is_known_everywhere(option, tmp_path):
    value, needed = other(option), WITH.get(option.name, {})
    # Flags, under a heading.
    assert option.flag in flags("train")
    assert option.is_grid_axis or option.flag in flags("bench")
    assert heading_of("train", option.flag)
    parser = CommandParser("train", "")
    add_run_options(parser, run_options())
    words = [option.flag] if option.kind is bool else [option.flag, str(value)]
    assert given_run_options(parser.parse_args(words), run_options()) == {option.name: value}
    # Keyword of `Learner`.
    assert option.name in inspect.signature(Learner).parameters
    # config.yaml and metrics.json.
    config = RunConfig.of("finetune", **{option.name: value})
    config.save(tmp_path)
    saved = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert saved[option.group][option.name] == config.flat()[option.name] == value
    assert RunConfig.load(tmp_path) == config
    # Jobs of a bench.
    run = PlannedRun(
        name="", entry=None, world=0, groups=(), memory="8", order=0, seed=1, backbone="other"
    )
    settings = {} if option.is_grid_axis else {option.name: value, **needed}
    grid = BenchConfig(stores=(tmp_path,), methods=("m",), tasks=(1,), settings=settings)
    assert run_settings(run, grid)[option.name] == value
    recorded = identity(grid, [], [])
    if option.affects_results and not option.is_grid_axis:
        assert recorded[option.name] == value
    # The check of a resumed run.
    request = Request.of(None, None, {option.name: value})
    begun = RunConfig.of("finetune")
    if option.affects_results:
        with pytest.raises(InputError) as caught:
            request.resumed(begun, Path("run"), None, None)
        was = begun.settings[option.name]
        assert f"started with {option.name} {was}, not {value}," in str(caught.value)
    else:
        assert list(request._differing_settings(begun)) == []


# One field of one file, and everything that must know it.
ONE_FIELD = """
import importlib.util, sys, types
from pathlib import Path

name = "cign.runs.configuration"
path = Path(importlib.util.find_spec(name).origin)
module = types.ModuleType(name)
module.__file__ = str(path)
sys.modules[name] = module
field = '    extra_rate: float = option(0.5, "rate", heading="method", least=0)\\n'
text = path.read_text()
assert text.count("    bf16: bool = option(") == 1
text = text.replace("    bf16: bool = option(", field + "    bf16: bool = option(")
exec(compile(text, str(path), "exec"), module.__dict__)

sys.path.insert(0, {tests!r})
from test_run_options import test_a_run_option_is_known_everywhere as check
from cign import Learner

(option,) = [one for one in module.run_options() if one.name == "extra_rate"]
check(option, Path({folder!r}))
assert Learner("finetune", extra_rate=2).config.compute.extra_rate == 2.0
assert Learner("finetune").config.compute.extra_rate == 0.5
"""


def test_one_field_in_one_file_adds_a_run_option(tmp_path):
    code = ONE_FIELD.format(tests=str(Path(__file__).parent), folder=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_an_unknown_run_option_is_an_error():
    with pytest.raises(TypeError, match="'sede'; did you mean 'seed'"):
        Learner("finetune", sede=1)
    with input_error("unknown-name", "setting of a bench", "'memory'"):
        BenchConfig(stores=("s",), methods=("m",), tasks=(1,), settings={"memory": "8"})
    with input_error("unknown-name", "selection", "'best'", "herding, random"):
        Learner("finetune", selection="best")
    with input_error("bad-value", "seed", "-1", "0"):
        Learner("finetune", seed=-1)


@pytest.mark.parametrize("regime", ["frozen", "end-to-end"])
def test_eval_batch_size_bounds_the_forward_passes_of_evaluation(regime, tiny, monkeypatch):
    sizes = []

    def recording(name):
        method = getattr(Finetune, name)

        def called(self, audio, visual):
            sizes.append(len(audio))
            return method(self, audio, visual)

        return called

    for name in ("predict", "embed"):
        monkeypatch.setattr(Finetune, name, recording(name))
    results = []
    for size in (None, 3):
        sizes.clear()
        learner = Learner(
            "finetune",
            options={"training": {"num_epochs": 1}},
            regime=regime,
            backbone="small-random",
            memory="4",
            eval_batch_size=size,
        )
        results.append(learner.learn(tiny[1], tasks=2).metrics["modalities"])
        assert (max(sizes) <= 4) == (size == 3)  # a last batch of one clip joins the one before
    assert results[0] == results[1]


def test_a_number_out_of_range_is_refused(capsys):
    for words in (["--seed", "-1"], ["--seed", "x"], ["--eval-batch-size", "0"]):
        assert main(["train", "store", "--out", "run", *words]) == 2
        assert f"{words[0]}: {words[1]!r} is not a whole number from" in capsys.readouterr().err
    option = RunOption(
        name="rate", group="g", kind=float, default=1.0, help="h", heading="method", least=0.0
    )
    parser = CommandParser("train", "")
    add_run_options(parser, [option])
    assert parser.parse_args(["--rate", "0.5"]).rate == 0.5
    for text in ("-1", "nan", "x"):
        with input_error("bad-usage", "--rate", f"'{text}'"):
            parser.parse_args(["--rate", text])


# ------------------------------------------------------------------------- resuming


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory):
    """A finished run: its store and its folder."""
    out = tmp_path_factory.mktemp("resumed") / "run"
    Learner("analytic", options=OPTIONS, seed=3).learn(tiny[1], tasks=2, order=1, out=out)
    return tiny[1], out


@pytest.mark.parametrize(
    ("learner", "how", "says"),
    [
        ({"method": "ewc"}, {}, "method analytic, not ewc"),
        ({"method": "ewc", "options": {"trunk": "linear"}}, {}, "method analytic, not ewc"),
        ({"seed": 4}, {}, "seed 3, not 4"),
        ({"memory": 20}, {}, "memory 0, not 20"),
        ({"bf16": True}, {}, "bf16 False, not True"),
        ({"options": {"width": 70}}, {}, "width 60, not 70"),
        ({"backbone": "small"}, {}, "backbone small-random, not small"),
        ({}, {"tasks": 4}, "tasks 2, not 4"),
        ({}, {"order": 2}, "order 1, not 2"),
    ],
)
def test_resuming_refuses_another_value_in_one_sentence(learner, how, says, run):
    store, out = run
    before = (out / "config.yaml").read_text()
    if "options" in learner:
        learner = {"method": "analytic", **learner}
    with pytest.raises(InputError) as caught:
        Learner(**learner).learn(store, out=out, resume=True, **how)
    text = str(caught.value)
    assert text.startswith(f"run {out} was started with {says}, and resuming cannot change it: ")
    assert (out / "config.yaml").read_text() == before


def test_resuming_takes_the_saved_values_of_what_is_not_given(run):
    store, out = run
    learner = Learner(device="cpu").learn(store, out=out, resume=True)
    assert learner.config == RunConfig.load(out)
    assert learner.config.method == "analytic"
    assert learner.config.options["width"] == 60
    assert (learner.config.training.seed, learner.config.order) == (3, 1)
    again = Learner("analytic", options=OPTIONS, seed=3, backbone="small-random")
    tasks = again.learn(store, tasks=2, order=1, out=out, resume=True).config.tasks
    assert tasks == learner.config.tasks


# ------------------------------------------------------------------------- the format


def test_a_run_of_an_earlier_format_is_refused_with_the_command_that_repeats_it(tmp_path):
    config = RunConfig.of("lwf", tasks=(("a",),))
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config.flat()))
    with pytest.raises(InputError) as caught:
        RunConfig.load(tmp_path)
    assert str(caught.value) == (
        f"run {tmp_path} has format 1 of an earlier version of cign, this one reads 2: train it "
        "again with `cign train STORE --out RUN --method lwf`"
    )


def test_a_run_of_a_later_format_is_refused(tmp_path):
    RunConfig.of("lwf").save(tmp_path)
    path = tmp_path / "config.yaml"
    path.write_text(path.read_text().replace("format: 2", "format: 3"))
    with input_error("wrong-version", "3", "2"):
        RunConfig.load(tmp_path)


def test_an_option_that_a_run_did_not_know_has_its_default(tmp_path):
    config = RunConfig.of("lwf", tasks=(("a",),), seed=3)
    config.save(tmp_path)
    path = tmp_path / "config.yaml"
    values = yaml.safe_load(path.read_text())
    del values["compute"]["bf16"]
    path.write_text(yaml.safe_dump(values))
    assert RunConfig.load(tmp_path) == config


def test_all_fields_of_groups_are_run_options():
    config = RunConfig.of("finetune")
    names = {
        name
        for group in ("data", "arrival", "exemplars", "training", "compute")
        for name in dataclasses.asdict(config)[group]
    }
    assert names == set(config.settings)
