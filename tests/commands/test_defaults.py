"""What commands do when they are told nothing else, and how they say so."""

import inspect
import json
import shlex
import subprocess
import sys

import pytest
import yaml

from cign.cli.arguments import CommandParser
from cign.cli.commands import COMMAND_GROUPS, COMMANDS
from cign.cli.entry_point import _find
from cign.cli.option_groups import HEADINGS
from cign.learner import Learner

from .adding import refused


def parser_of(name):
    command = _find(name)
    parser = CommandParser(name, command.SUMMARY, example=command.EXAMPLE)
    command.add_options(parser)
    return parser


# Working defaults


def test_train_without_a_method_and_tasks(cign, world, tmp_path):
    run = tmp_path / "run"
    code, out, err = cign("train", world.store, "--out", run)
    assert code == 0, err
    config = yaml.safe_load((run / "config.yaml").read_text())
    metrics = json.loads((run / "metrics.json").read_text())
    assert config["method"] == "cign_analytic"
    assert [sorted(group) for group in metrics["tasks"]] == [sorted(metrics["classes"])]
    assert str(run / "model") in out
    assert Learner.load(run).model.method.name == "cign_analytic"


def test_the_learner_has_the_same_default():
    # None, so that a run that is resumed can tell a given method from the default.
    assert inspect.signature(Learner).parameters["method"].default is None
    assert Learner().config.method == "cign_analytic"
    assert inspect.signature(Learner.learn).parameters["tasks"].default is None


def test_a_recipe_decides_the_method(cign, world, tmp_path, recipe):
    assert cign("train", world.store, "--out", tmp_path / "run", "--recipe", recipe)[0] == 0
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert config["method"] == "finetune"
    assert len(config["tasks"]) == 1


def test_tasks_named_twice_are_refused(cign, world, tmp_path):
    words = ("train", world.store, "--out", tmp_path / "run", "--tasks", 2, "--task-file", "t.json")
    refused(cign(*words), "--tasks 2 and --task-file t.json both define the tasks: leave one")
    assert not (tmp_path / "run").exists()


# Help


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_under_a_heading(name, cign):
    """So is one that comes later: enter it in `cign.cli.option_groups`."""
    _, out, _ = cign(name, "--help")
    blocks = dict(block.split(":\n", 1) for block in out.split("\n\n") if ":\n" in block)
    assert "--help" in blocks["options"]
    assert blocks["options"].count("\n  -") == 0, "an option without a heading"
    shown = {
        word.rstrip(",")
        for heading, text in blocks.items()
        if heading in HEADINGS
        for line in text.splitlines()
        for word in line.split()[:1]
        if word.startswith("--")
    }
    own = {option for action in parser_of(name)._actions for option in action.option_strings}
    assert shown == own - {"-h", "--help", "--print_shtab"}
    order = [heading for heading in blocks if heading in HEADINGS]
    assert order == [heading for heading in HEADINGS if heading in blocks]


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_are_shown_and_would_be_accepted(name, cign):
    example = _find(name).EXAMPLE
    _, out, _ = cign(name, "--help")
    assert out.rstrip().endswith("\n".join(f"  {line}" for line in example.splitlines()))
    named = set()
    for line in example.splitlines():
        words = line.replace("source <(", "").replace(")", "").partition(" > ")[0]
        program, command, *rest = shlex.split(words)
        assert program == "cign"
        named.add(command)  # a step before or after it may be another command
        parser_of(command).parse_args(rest)
    assert name in named


def test_no_heading_lists_an_option_twice():
    listed = [option for options in HEADINGS.values() for option in options]
    assert len(listed) == len(set(listed))


def test_help_lists_commands_by_purpose(cign):
    code, out, _ = cign("--help")
    assert code == 0
    assert list(COMMAND_GROUPS) == [
        *("getting started", "data", "training", "using a model", "labels", "comparing", "shell")
    ]
    for purpose, commands in COMMAND_GROUPS.items():
        block = out.split(f"\n{purpose}:\n")[1].split("\n\n")[0]
        assert [line.split()[0] for line in block.splitlines()] == list(commands)
    assert max(map(len, out.splitlines())) <= 100


# Starting


def test_python_m_cign_is_the_command_line():
    def run(*words):
        command = [sys.executable, "-m", *words]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert run("cign", "--help").stdout == run("cign.cli.entry_point", "--help").stdout != ""
    done = run("cign", "nothing")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("cign: unknown command 'nothing'")


def test_help_of_a_command_imports_nothing_that_takes_long():
    """`cign train --help` stays within half a second."""
    script = (
        "import sys; from cign.cli.entry_point import main; main(['train', '--help'])\n"
        "heavy = {'torch', 'numpy', 'scipy', 'av', 'pyarrow', 'transformers', 'sklearn', 'rich'}\n"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
