"""Flags of the run options, derived from `cign.runs.configuration`."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterable
from typing import Any

from jsonargparse import Namespace

from cign.cli.arguments import CommandParser, device_name, whole
from cign.errors import InputError
from cign.runs.configuration import run_options
from cign.runs.options import RunOption
from cign.vocabulary import LOGGERS


def add_run_options(parser: CommandParser, options: Iterable[RunOption]) -> None:
    """Declare a flag for each run option; one that is not given is None."""
    for one in options:
        if one.kind is bool:
            parser.add_argument(one.flag, action="store_true", default=None, help=one.help)
        else:
            parser.add_argument(one.flag, metavar=one.metavar, type=_type_of(one), help=one.help)


def add_log_options(parser: CommandParser) -> None:
    """Declare the options for loggers and callbacks."""
    parser.add_argument(
        "--log",
        metavar="NAME",
        action="append",
        type=_logger,
        help="log losses and metrics: csv, tensorboard, wandb or mlflow; may be repeated",
    )
    parser.add_argument(
        "--log-every",
        metavar="N",
        type=whole(1),
        help="steps between logged losses (default: 50); without --log none is read",
    )
    parser.add_argument(
        "--callback",
        metavar="MODULE:CLASS",
        action="append",
        help="call a callback of your own at steps, epochs and tasks; may be repeated",
    )


def given_callbacks(values: Namespace) -> list[str]:
    """Names of the given loggers and callbacks.

    Raises:
        InputError: If --log-every has no effect.
    """
    if values.log_every is not None and not values.log:
        raise InputError(
            "conflicting-options",
            f"--log-every {values.log_every} has no effect without --log: add --log csv, for "
            "example, or leave it out",
        )
    return [*(values.log or ()), *(values.callback or ())]


def _logger(text: str | list[str]) -> str | list[str]:
    """A type for names of loggers; a list is returned unchanged."""
    if not isinstance(text, list) and text not in LOGGERS:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a logger: use one of {', '.join(LOGGERS)}, or --callback for your own"
        )
    return text


def given_run_options(values: Namespace, options: Iterable[RunOption]) -> dict[str, Any]:
    """The given values among those of the flags, by name."""
    found = {one.name: values[one.name] for one in options}
    return {name: value for name, value in found.items() if value is not None}


def shared_run_options() -> tuple[RunOption, ...]:
    """The run options that have one value for all runs of a bench."""
    return tuple(one for one in run_options() if not one.is_grid_axis)


def _type_of(one: RunOption) -> Callable[[str], Any]:
    """The type of a flag's value."""
    if one.name == "device":
        return device_name
    if one.kind is int:
        return whole(int(one.least or 0))
    if one.kind is float:
        return _number_of(one)
    return _text_of(one)


def _number_of(one: RunOption) -> Callable[[str], float]:
    """A type for numbers from the least allowed one up."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or (one.least is not None and value < one.least):
            bound = "" if one.least is None else f" from {one.least:g} up"
            raise argparse.ArgumentTypeError(f"{text!r} is not a number{bound}")
        return value

    return parse


def _text_of(one: RunOption) -> Callable[[str], str]:
    """A type for texts, one of the choices if there are any."""

    def parse(text: str) -> str:
        if one.choices and text not in one.choices:
            raise argparse.ArgumentTypeError(f"{text!r}: use one of {', '.join(one.choices)}")
        return str(text)

    return parse
