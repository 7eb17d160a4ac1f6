"""The parser of one command: it raises errors, one sentence each, instead of printing them."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from jsonargparse import ArgumentParser, Namespace

from cign.cli.option_groups import HEADINGS, heading_of
from cign.errors import InputError
from cign.utils.devices import AUTO, DEVICE_HELP, NAMES, is_device_name, resolve_device
from cign.utils.terminal import make_progress, show_device


class _HelpFormatter(argparse.HelpFormatter):
    """Does not wrap texts of several lines, so that examples can be copied."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if "\n" in text else super()._fill_text(text, width, indent)


class CommandParser(ArgumentParser):
    """A parser that raises `InputError`; option names cannot be abbreviated.

    Args:
        command: Name of the command.
        summary: What it does.
        example: Command lines for the end of ``--help``.
    """

    def __init__(self, command: str, summary: str, *, example: str = "") -> None:
        self._command = command
        lines = "".join(f"\n  {line}" for line in example.splitlines())
        super().__init__(
            prog=f"cign {command}",
            description=summary,
            epilog=f"example{'s' if lines.count(chr(10)) > 1 else ''}:{lines}" if lines else None,
            formatter_class=_HelpFormatter,
            allow_abbrev=False,
        )
        self._positionals.title = "arguments"

    def format_help(self, *args: Any) -> str:
        """List each option under the heading of its purpose."""
        options = self._optionals._group_actions
        for heading in HEADINGS:
            own = [one for one in options if self._heading_of(one) == heading]
            if own:
                self.add_argument_group(heading)._group_actions += own
        options[:] = [one for one in options if self._heading_of(one) is None]
        return str(super().format_help(*args))

    def _heading_of(self, action: argparse.Action) -> str | None:
        return heading_of(self._command, action.option_strings[-1])

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Turn an error of argparse or jsonargparse into one sentence with a remedy."""
        if isinstance(ex, InputError):
            raise ex
        raise InputError("bad-usage", self._sentence(" ".join(message.split()))) from None

    def _sentence(self, message: str) -> str:
        remedy = f"see `{self.prog} --help`"
        if match := re.match(r"unrecognized arguments: (.*)", message, re.IGNORECASE):
            first = match[1].split()[0]
            if not first.startswith("-"):
                return f"unexpected argument {first!r}: {remedy}"
            name = first.partition("=")[0]
            near = difflib.get_close_matches(name, self._options(), n=1)
            hint = f"did you mean {near[0]}? For all options " if near else ""
            return f"unknown option {name}: {hint}{remedy}"
        if match := re.match(r"the following arguments are required: (.*)", message, re.I):
            names = [self._shown(name) for name in match[1].split(", ")]
            missing = f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} missing"
            return f"{missing}: {remedy}"
        if match := re.match(r"argument ([^:]*): expected (?:one|at least one) argument", message):
            return f"option {match[1]} needs a value: {remedy}"
        if match := re.match(
            r"argument ([^:]*): invalid choice: (.*?) \(choose from (.*)\)", message
        ):
            choices = match[3].replace("'", "")
            return f"{match[1]} is {match[2]}: use one of {choices}"
        if match := re.match(r"argument (.*?) ?: (.*)", message):
            return f"{match[1]}: {match[2]}"
        return f"{message.rstrip('.')}: {remedy}"

    def _options(self) -> list[str]:
        return [name for action in self._actions for name in action.option_strings]

    def _shown(self, name: str) -> str:
        """The name of a positional argument or option in the help."""
        for action in self._actions:
            if name == action.dest:
                if action.option_strings:
                    return str(action.option_strings[-1])
                return str(action.metavar or name)
        return name


def whole(low: int, high: int | None = None) -> Callable[[str], int]:
    """A type for whole numbers in a range.

    Args:
        low: Smallest allowed value.
        high: Largest allowed value, if any.
    """
    allowed = (
        f"a whole number from {low} up" if high is None else f"a whole number from {low} to {high}"
    )

    def parse(text: str) -> int:
        try:
            value = int(str(text))
        except ValueError:
            value = low - 1
        if value < low or (high is not None and value > high):
            raise argparse.ArgumentTypeError(f"{text!r} is not {allowed}")
        return value

    return parse


def num_bytes(text: str) -> int:
    """A type for sizes of files: ``500kB``, ``200MB``, ``1GB`` in powers of 1,024, or bytes."""
    match = re.fullmatch(r"(\d{1,15})([kMG]?B)?", str(text), re.IGNORECASE)
    if match is None or int(match[1]) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 500kB, 200MB or 1GB")
    scale = {"": 1, "b": 1, "kb": 2**10, "mb": 2**20, "gb": 2**30}
    return int(match[1]) * scale[(match[2] or "").lower()]


def seconds(text: str) -> float:
    """A type for positive times in seconds."""
    try:
        value = float(str(text))
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number of seconds")
    return value


def seconds_from_0(text: str) -> float:
    """A type for times in seconds, which may be 0."""
    try:
        value = float(str(text))
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds, 0 or more")
    return value


def probability(text: str) -> float:
    """A type for numbers from 0 to 1."""
    try:
        value = float(str(text))
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return value


def device_name(text: str) -> str:
    """A type for device names; availability on this machine is checked when it is used."""
    if not is_device_name(str(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a device: use {NAMES}")
    return str(text)


def path(text: str) -> Path:
    """A type for paths; ``~`` stands for the home folder."""
    if not str(text):
        raise argparse.ArgumentTypeError("an empty path was given")
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise argparse.ArgumentTypeError(
            f"{text!r} names the home folder of a user that does not exist; write ./{text} for a "
            "file of that name"
        ) from None


def paths(texts: Sequence[str] | None) -> list[Path]:
    """The paths of an option that may be repeated."""
    return [path(text) for text in texts or ()]


def given(options: Namespace, names: Sequence[str]) -> dict[str, Any]:
    """The options among ``names`` that are not None."""
    return {name: options[name] for name in names if options[name] is not None}


# Options that several commands take, with the same meaning in each.


def add_model(parser: CommandParser) -> None:
    """Declare MODEL, for commands that read a model or change it in place."""
    parser.add_argument(
        "model", metavar="MODEL", type=path, help="model folder, run folder, or name on the hub"
    )


def add_changed_model(parser: CommandParser) -> None:
    """Declare MODEL, for commands that change a model or, with ``--out``, a copy of it."""
    parser.add_argument(
        "model", metavar="MODEL", type=path, help="model folder; with --out also a run"
    )


def add_runs(parser: CommandParser, metavar: str, what: str) -> None:
    """Declare run folders, for commands that show results of runs."""
    parser.add_argument("runs", metavar=metavar, type=path, nargs="+", help=what)


def add_media(parser: CommandParser) -> None:
    """Declare ``--media``, for commands that read lists of clips."""
    parser.add_argument(
        "--media",
        metavar="DIR",
        action="append",
        help="folder of the listed clips, if not the folder of the list; may be repeated",
    )


def add_reading(parser: CommandParser, what: str = "the clips") -> None:
    """Declare how clips are read and decoded, for commands that take any source; `reading_of`.

    Args:
        parser: The command's parser.
        what: The clips, for the help.
    """
    parser.add_argument("--format", metavar="NAME", help=f"format of {what} (default: detected)")
    add_media(parser)
    add_decoders(parser)


def reading_of(options: Any) -> dict[str, Any]:
    """The options of `add_reading` as arguments of the methods of `cign.learner.Learner`."""
    return {
        "format": options.format,
        "media": paths(options.media),
        "num_workers": options.workers,
        "progress": make_progress(),
    }


def add_split(parser: CommandParser) -> None:
    """Declare ``--split``, for commands that read published lists."""
    parser.add_argument(
        "--split",
        metavar="KIND",
        help="historical: as published; corrected: labels fixed, no recording in two splits, "
        "80/10/10 %% (default: historical if the source has splits)",
    )


def add_benchmark(parser: CommandParser, what: str) -> None:
    """Declare ``--benchmark``, for commands that a benchmark configures."""
    parser.add_argument(
        "--benchmark",
        metavar="NAME",
        help=f"name of a published benchmark; sets {what} (docs/benchmarks.md)",
    )


def add_decoders(parser: CommandParser) -> None:
    """Declare ``--workers``, for commands that decode."""
    parser.add_argument(
        "--workers",
        metavar="N",
        type=whole(0),
        help="decoding processes; 0 decodes in the main process (default: one per core)",
    )


def add_engine(parser: CommandParser) -> None:
    """Declare ``--engine``, for commands that can distribute their work over machines."""
    parser.add_argument(
        "--engine",
        metavar="NAME",
        default="local",
        help="local (processes on this machine, default) or ray (a cluster; needs `pip install "
        "ray`)",
    )


def add_device(parser: CommandParser) -> None:
    """Declare ``--device``, for commands that compute; see `device_of`."""
    parser.add_argument(
        "--device",
        metavar="NAME",
        type=device_name,
        default=AUTO,
        help=DEVICE_HELP,
    )


def device_of(options: Namespace) -> str:
    """Resolve ``--device`` and show the device on standard error.

    Raises:
        InputError: If this machine does not have the device.
    """
    device = resolve_device(options.device)
    show_device(device)
    return device


def check_execution(options: Namespace) -> None:
    """Check ``--engine``, ``--workers`` and ``--device`` together.

    Raises:
        InputError: If Ray is missing, or an option is not for a cluster, whose machines compute on
            their CPUs.
    """
    from cign.utils.cluster import check_engine

    check_engine(options.engine, options.workers)
    if options.engine == "ray" and options.device not in (AUTO, "cpu"):
        raise InputError(
            "conflicting-options",
            f"--device is {options.device}, but the machines of --engine ray compute on their "
            "CPUs: leave it out, or use --engine local",
        )
    if options.engine == "ray":
        options.device = "cpu"
