"""`cign completion SHELL`: print a completion script."""

from __future__ import annotations

from typing import Any

from cign.cli.arguments import CommandParser
from cign.utils.terminal import say

SUMMARY = "Print a completion script for a shell, to be sourced or saved in its completion folder."
EXAMPLE = """\
source <(cign completion bash)
cign completion fish > ~/.config/fish/completions/cign.fish"""
SHELLS = ("bash", "zsh", "fish")


def add_options(parser: CommandParser) -> None:
    """Declare the arguments."""
    parser.add_argument("shell", metavar="SHELL", choices=SHELLS, help=", ".join(SHELLS))


def run(options: Any) -> None:
    """Print the script."""
    from cign.cli.completion import completion_script

    say(completion_script(options.shell))
