"""`cign methods [NAME]`: the methods, or the options and capabilities of one."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from cign.cli.arguments import CommandParser
from cign.utils.terminal import note, say, show_table

if TYPE_CHECKING:
    from cign.methods.catalogue import MethodInfo

SUMMARY = "List the methods with what they can do, or describe one with all its options."
EXAMPLE = """\
cign methods
cign methods lwf"""


def add_options(parser: CommandParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "name", metavar="NAME", nargs="?", help="a method, also module:Class; without it, all"
    )
    parser.add_argument("--json", action="store_true", help="print everything as JSON")


def run(options: Any) -> None:
    """Show one method or all."""
    from cign.methods.catalogue import describe_method, list_methods

    names = [options.name] if options.name else list_methods()
    infos = [describe_method(name) for name in names]
    if options.json:
        found: Any = [one.to_dict() for one in infos]
        json.dump(found[0] if options.name else found, sys.stdout, indent=2)
        say()
    elif options.name:
        _show_one(infos[0])
    else:
        _show_all(infos)


def _show_all(infos: list[MethodInfo]) -> None:
    rows = []
    for one in infos:
        has = one.capabilities
        rows.append(
            (
                f"{one.name}: {one.summary.rstrip('.')}",
                "all clips" if has["replays_everything"] else has["memory"],
                _word(has["multi_label"]),
                _word(has["add_and_remove"]),
                _word(has["maps"]),
            )
        )
    show_table(("method", "memory", "multi-label", "add", "maps"), rows)
    note(
        "memory: exemplars of old classes; add: `cign add` works on its models; `cign methods "
        "NAME` shows the options of one"
    )


def _show_one(info: MethodInfo) -> None:
    from cign.methods.catalogue import CAPABILITIES

    say(f"{info.name}: {info.summary}", fit=True)
    if info.about:
        say(info.about, fit=True)
    say()
    rows = [(CAPABILITIES[name], _word(value)) for name, value in info.capabilities.items()]
    show_table(("capability", ""), rows)
    say()
    say("options with the value of the recipe" if info.options else "no options")
    for one in info.options:
        default = "" if one.value == one.default else f"default {_setting(one.default)}; "
        say(f"{one.name}: {_setting(one.value)} ({default}{_values(one.type, one.allowed)})")
        source = f" Source: {one.source}." if one.source else ""
        say(f"  {one.meaning or 'Not described.'}{source}", fit=True)


def _values(kind: str, allowed: tuple[Any, ...]) -> str:
    return "|".join(map(str, allowed)) if allowed else kind


def _word(value: Any) -> str:
    """A capability in words."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | dict):
        return ", ".join(value) or "none"
    return str(value)


def _setting(value: Any) -> str:
    """A value as ``--set`` takes it."""
    if isinstance(value, list):
        return f"[{','.join(map(_setting, value))}]"
    if isinstance(value, float):
        return f"{value:g}"
    return "null" if value is None else str(value).lower() if value in (True, False) else str(value)
