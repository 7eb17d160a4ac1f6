"""Run the commands of a page of the docs, in their order, as a shell would."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path

from benchmark_scripts import module_of
from cign.cli.arguments import CommandParser
from cign.cli.commands import module_name
from cign.cli.entry_point import main

DOCS = Path(__file__).parents[1] / "docs"


def commands(page: str) -> list[str]:
    """The lines of all fenced blocks of a page that hold commands."""
    text = (DOCS / page).read_text()
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S)
    blocks = [block for language, block in fenced if language in ("", "sh", "shell", "bash")]
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def run(line: str, extra: dict[str, list[str]]) -> int:
    """Run one command in this process; gives its exit code.

    Args:
        line: Begins with ``cign``.
        extra: Options that are put behind a command, by its name.
    """
    program, *words = shlex.split(line)
    assert program == "cign", line
    expanded = []
    for word in words:
        found = sorted(map(str, Path().glob(word))) if "*" in word else [word]
        assert found, f"{line}: {word} matches nothing"
        expanded += found
    return main([*expanded, *extra.get(words[0], [])])


def parse(line: str) -> None:
    """Parse a command without running it; raises what it would end with."""
    program, name, *words = shlex.split(line)
    assert program == "cign", line
    command = importlib.import_module(module_name(name))
    parser = CommandParser(name, command.SUMMARY)
    command.add_options(parser)
    parser.parse_args(words)


def example_clips(page: str) -> None:
    """Write the clips of a page to the current folder, as `python examples/clips.py PAGE` does."""
    path = DOCS.parent / "examples" / "clips.py"
    module_of(path, "example_clips").main([page])
