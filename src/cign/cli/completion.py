"""Completion scripts for shells, made by shtab from the parsers of all commands."""

from __future__ import annotations

import argparse
import importlib
from importlib import resources

from cign.cli.arguments import path
from cign.cli.commands import COMMANDS
from cign.errors import InputError
from cign.synthetic.config import VARIANTS

# What may follow an option, where few values are possible; the commands themselves check values.
_VALUES: dict[str, tuple[str, ...]] = {
    "--device": ("auto", "cpu", "cuda", "mps"),
    "--engine": ("local", "ray"),
    "--explain-as": ("png", "mp4"),
    "--regime": ("frozen", "end-to-end"),
    "--variant": tuple(VARIANTS),
}
# Files and folders that are read as text, so that `-`, globs and addresses can stand for them.
_FILES = frozenset({"DIR", "FILE", "STORE"})


def completion_script(shell: str) -> str:
    """The script that completes commands, options, file names and some values.

    Args:
        shell: ``bash``, ``zsh`` or ``fish``.

    Raises:
        InputError: If shtab is not installed.
    """
    try:
        import shtab
    except ImportError:
        raise InputError("completion scripts need shtab: `pip install shtab`") from None
    return str(shtab.complete(_all_commands(), shell))


def _all_commands() -> argparse.ArgumentParser:
    """One parser with all commands below it, as shtab wants it."""
    import shtab

    parser = argparse.ArgumentParser(prog="cign", allow_abbrev=False)
    parser.add_argument("--version", action="store_true", help="show the version")
    commands = parser.add_subparsers(metavar="COMMAND")
    for name, summary in COMMANDS.items():
        one = commands.add_parser(name, help=summary, allow_abbrev=False)
        importlib.import_module(f"cign.cli.commands.{name}").add_options(one)
        for action in one._actions:
            option = action.option_strings[-1] if action.option_strings else None
            if option == "--method":
                action.choices = _methods()
            elif option in _VALUES:
                action.choices = _VALUES[option]
            elif action.type is path or action.metavar in _FILES:
                action.complete = shtab.FILE  # type: ignore[attr-defined]
    return parser


def _methods() -> tuple[str, ...]:
    """Names of the methods, found without importing them: each comes with a recipe."""
    recipes = resources.files("cign") / "recipes"
    files = (file.name for file in recipes.iterdir())
    return tuple(sorted(name.removesuffix(".yaml") for name in files if name.endswith(".yaml")))
