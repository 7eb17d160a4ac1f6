"""Completion scripts: every command and option is in them, and bash completes with its own."""

import shutil
import subprocess

import pytest

from cign.cli.arguments import CommandParser
from cign.cli.commands import COMMANDS
from cign.cli.entry_point import _find

from .adding import refused

# Press Tab after some words; prints what could follow.
PRESS_TAB = """
source {script}
COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}}-1)); COMPREPLY=()
_shtab_cign cign "${{COMP_WORDS[$COMP_CWORD]}}"
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def options_of(name):
    parser = CommandParser(name, "")
    _find(name).add_options(parser)
    return {option for action in parser._actions for option in action.option_strings}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_hold_every_command_and_option(cign, shell):
    code, script, err = cign("completion", shell)
    assert (code, err) == (0, "")
    assert "cign" in script.splitlines()[0] or script.startswith("#")
    for name in COMMANDS:
        assert name in script
        for option in options_of(name) - {"-h", "--print_shtab"}:
            # fish names options without their dashes, after -l
            wanted = f"-l {option.removeprefix('--')} " if shell == "fish" else option
            assert wanted in script, (name, option)


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("cign tra", {"train"}),
        ("cign train --dev", {"--device"}),
        ("cign train --device ''", {"auto", "cpu", "cuda", "mps"}),
        ("cign train --method cign_", {"cign_analytic", "cign_replay", "cign_tuned"}),
        ("cign train --regime ''", {"frozen", "end-to-end"}),
        ("cign completion ''", {"bash", "zsh", "fish"}),
        ("cign predict {folder}/clip", {"{folder}/clip-1.mp4", "{folder}/clip-2.mp4"}),
        ("cign evaluate {folder}/sto", {"{folder}/store"}),
    ],
)
def test_bash_completes(cign, tmp_path, words, found):
    (tmp_path / "script").write_text(cign("completion", "bash")[1])
    for name in ("clip-1.mp4", "clip-2.mp4", "other.mp4"):
        (tmp_path / name).touch()
    (tmp_path / "store").mkdir()
    script = PRESS_TAB.format(script=tmp_path / "script", words=words.format(folder=tmp_path))
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    replies = {line.rstrip("/") for line in done.stdout.splitlines()}
    assert replies == {one.format(folder=tmp_path) for one in found}


def test_an_unknown_shell_is_refused(cign):
    refused(cign("completion", "tcsh"), "SHELL is 'tcsh': use one of bash, zsh, fish")
    refused(cign("completion"), "SHELL is missing")


def test_without_the_library_it_is_named(cign, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "shtab", None)
    refused(cign("completion", "bash"), "need shtab", "pip install shtab")
