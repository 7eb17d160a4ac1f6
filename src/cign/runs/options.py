"""Run options as fields of dataclasses: a field's metadata describe its flag and its effect."""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from cign.errors import InputError, one_of

_KEY = "run option"


@dataclass(frozen=True, kw_only=True)
class RunOption:
    """A run option.

    Attributes:
        name: Its name as a keyword and in ``config.yaml``.
        group: Field of `cign.runs.configuration.RunConfig` that holds it.
        kind: ``bool``, ``int``, ``float`` or ``str``.
        default: Its default.
        help: Text of ``--help``.
        heading: Heading in ``--help``, see `cign.cli.option_groups`.
        metavar: Placeholder of its value in ``--help``.
        least: Smallest allowed number, if any.
        choices: Allowed texts; empty for any text.
        affects_results: Whether it can change the results of a run. If not, a resumed run may have
            another value.
        is_grid_axis: Whether `cign bench` varies it, with a flag for several values.
        may_change_in_branch: Whether a run that branches from another may have another value.
    """

    name: str
    group: str
    kind: type
    default: Any
    help: str
    heading: str
    metavar: str = "NAME"
    least: float | None = None
    choices: tuple[str, ...] = ()
    affects_results: bool = True
    is_grid_axis: bool = False
    may_change_in_branch: bool = False

    @property
    def flag(self) -> str:
        """Its flag on the command line."""
        return f"--{self.name.replace('_', '-')}"

    def check(self, value: Any) -> None:
        """Check a value against the allowed numbers or texts.

        Raises:
            InputError: If it is not allowed.
        """
        if self.choices and value not in self.choices:
            raise one_of(value, self.choices, self.name)
        if self.least is not None and value < self.least:
            raise InputError(
                "bad-value", f"{self.name} {value} is too small: use {self.least} or more"
            )


def option(default: Any, help: str, *, heading: str, **facts: Any) -> Any:
    """A dataclass field that is a run option; see `RunOption` for the arguments."""
    return field(default=default, metadata={_KEY: {"help": help, "heading": heading, **facts}})


@cache
def options_of(group: str, cls: type) -> tuple[RunOption, ...]:
    """The run options of a group.

    Args:
        group: Name of the group.
        cls: Its dataclass; each field is declared by `option`.
    """
    kinds = typing.get_type_hints(cls)
    return tuple(
        RunOption(
            name=one.name,
            group=group,
            kind=kinds[one.name],
            default=one.default,
            **one.metadata[_KEY],
        )
        for one in dataclasses.fields(cls)
    )
