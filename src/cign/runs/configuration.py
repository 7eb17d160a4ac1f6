"""The configuration of a run. A run option is one field of a group below.

The flags of `cign train` and `cign bench`, the keyword arguments of `cign.learner.Learner`, the
jobs of a bench, ``config.yaml`` and the check of a resumed run are derived from these fields. The
options of a method are its own, see `cign.methods`.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from cign.errors import InputError, one_of
from cign.runs.arrival import ArrivalConfig
from cign.runs.config_format import FILE as FILE
from cign.runs.config_format import FORMAT as FORMAT
from cign.runs.config_format import check_format
from cign.runs.options import RunOption, option, options_of
from cign.utils.devices import AUTO, DEVICE_HELP, resolve_device
from cign.utils.files import write_text
from cign.utils.options import configure
from cign.vocabulary import EVALUATION_BATCH, REGIMES


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """What a run is trained on."""

    regime: str = option(
        "frozen",
        "frozen (train on cached tokens, default) or end-to-end (train the encoders too)",
        heading="encoders",
        choices=REGIMES,
    )
    backbone: str = option(
        "small",
        "backbone whose tokens are read, or which is trained (default: that of the store)",
        heading="encoders",
    )
    allow_missing: bool = option(False, "also train on clips that lack a modality", heading="input")


@dataclass(frozen=True, kw_only=True)
class ExemplarConfig:
    """The memory of clips of old classes."""

    memory: str = option(
        "0",
        "exemplar budget for old classes: in total (120), per class (20/class) or in bytes "
        "(64MB); default: 0",
        heading="method",
        metavar="M",
        is_grid_axis=True,
    )
    selection: str = option(
        "herding",
        "how exemplars are chosen: herding (default) or random",
        heading="method",
        choices=("herding", "random"),
    )


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How a run is trained, whatever its method."""

    seed: int = option(
        0,
        "seed of weights, shuffling and noise (default: 0)",
        heading="tasks and seeds",
        metavar="S",
        least=0,
        is_grid_axis=True,
        may_change_in_branch=True,
    )


@dataclass(frozen=True, kw_only=True)
class ComputeConfig:
    """Where and how precisely a run is computed."""

    device: str = option(
        "cpu",
        DEVICE_HELP,
        heading="execution",
        affects_results=False,
    )
    bf16: bool = option(
        False,
        "compute encoders and transformers in bfloat16, faster if the processor supports it",
        heading="method",
    )
    eval_batch_size: int = option(
        EVALUATION_BATCH,
        "clips per forward pass where nothing is trained; fewer need less memory (default: "
        f"{EVALUATION_BATCH})",
        heading="execution",
        metavar="B",
        least=1,
    )


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything that determines the results of a run.

    Attributes:
        method: Name of the method.
        options: All options of the method.
        tasks: Class names of each task, in the order in which they are taught.
        order: Class-order seed that ``tasks`` came from; recorded, not used again.
        branched_from: ``RUN@TASK`` whose state it started from; empty for other runs.
        data: What it is trained on.
        arrival: How its training clips arrive.
        exemplars: The memory of clips of old classes.
        training: How it is trained.
        compute: Where and how precisely it is computed.
    """

    method: str
    options: dict[str, Any] = field(default_factory=dict)
    tasks: tuple[tuple[str, ...], ...] = ()
    order: int = 0
    branched_from: str = ""
    data: DataConfig = field(default_factory=DataConfig)
    arrival: ArrivalConfig = field(default_factory=ArrivalConfig)
    exemplars: ExemplarConfig = field(default_factory=ExemplarConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    compute: ComputeConfig = field(default_factory=ComputeConfig)

    def __post_init__(self) -> None:
        from cign.data.exemplar_memory import MemoryBudget  # slow imports
        from cign.methods import method_class

        for one in run_options():
            one.check(getattr(getattr(self, one.group), one.name))
        cls = method_class(self.method)
        if self.data.regime not in cls.regimes:
            raise InputError(
                "unsupported",
                f"method {self.method} does not run in regime {self.data.regime}: "
                f"use --regime {cls.regimes[0]}",
            )
        if reason := cls.stream_reason(self.arrival.stream, self.data.regime):
            raise InputError(
                "unsupported",
                f"method {self.method} does not learn stream {self.arrival.stream}: {reason}",
            )
        MemoryBudget.parse(self.exemplars.memory)

    @classmethod
    def of(
        cls,
        method: str,
        *,
        options: Mapping[str, Any] | None = None,
        tasks: tuple[tuple[str, ...], ...] = (),
        order: int = 0,
        branched_from: str = "",
        **settings: Any,
    ) -> RunConfig:
        """A configuration from values of run options by name, without their groups.

        Raises:
            InputError: If a name or a value is invalid.
        """
        config = cls(
            method=method,
            options=dict(options or {}),
            tasks=tasks,
            order=order,
            branched_from=branched_from,
        )
        return config.with_settings(**settings)

    def with_settings(self, **settings: Any) -> RunConfig:
        """A copy with other values of run options, given by name.

        Raises:
            InputError: If a name or a value is invalid.
        """
        by_name = {one.name: one for one in run_options()}
        changes: dict[str, dict[str, Any]] = {}
        for name, value in settings.items():
            if name not in by_name:
                raise one_of(name, by_name, "run option")
            one = by_name[name]
            text = str(value) if one.kind is str else value  # a memory may be given as a number
            changes.setdefault(one.group, dataclasses.asdict(getattr(self, one.group)))[name] = text
        classes = groups()
        changed: dict[str, Any] = {
            group: configure(classes[group], to, "run") for group, to in changes.items()
        }
        return dataclasses.replace(self, **changed)

    @property
    def settings(self) -> dict[str, Any]:
        """The values of all run options by name, without their groups."""
        return {one.name: getattr(getattr(self, one.group), one.name) for one in run_options()}

    @property
    def effective_memory(self) -> str:
        """The budget, or 0 for a method that does not use exemplars."""
        from cign.methods import method_class

        return self.exemplars.memory if method_class(self.method).uses_memory else "0"

    def on(self, device: str | None) -> RunConfig:
        """This configuration on the given device; None and ``auto`` leave its own device.

        Raises:
            InputError: If this machine does not have the device.
        """
        own = device in (None, AUTO)
        return self.with_settings(device=resolve_device(self.compute.device if own else device))

    def flat(self) -> dict[str, Any]:
        """All values without groups, as plain values for ``metrics.json``."""
        return {
            "method": self.method,
            "options": self.options,
            "tasks": [list(group) for group in self.tasks],
            "order": self.order,
            **self.settings,
            "branched_from": self.branched_from,
        }

    def save(self, folder: Path) -> None:
        """Write ``config.yaml``."""
        values = {"format": FORMAT} | dataclasses.asdict(self)
        values["tasks"] = [list(group) for group in self.tasks]
        write_text(folder / FILE, yaml.safe_dump(values, sort_keys=False))

    @classmethod
    def load(cls, folder: Path) -> RunConfig:
        """Read ``config.yaml``; an option that was added since has its default.

        Raises:
            InputError: If the file is missing, invalid or of another format.
        """
        path = folder / FILE
        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8"))
            check_format(folder, values)
            return configure(cls, {k: v for k, v in values.items() if k != "format"}, FILE)
        except FileNotFoundError:
            raise InputError(
                "wrong-format", f"{folder} is not a run folder: {FILE} is missing"
            ) from None
        except (
            InputError,
            OSError,
            TypeError,
            ValueError,
            AttributeError,
            yaml.YAMLError,
        ) as error:
            if isinstance(error, InputError) and error.code == "wrong-version":
                raise
            reason = " ".join(str(error).split())
            raise InputError(
                "file-unreadable", f"{path} cannot be read ({reason}): restore it"
            ) from None


def run_options() -> tuple[RunOption, ...]:
    """The run options of all groups, in the order of their declaration."""
    return tuple(one for group, cls in groups().items() for one in options_of(group, cls))


def groups() -> dict[str, type]:
    """The fields of `RunConfig` that are groups of run options, with their classes."""
    hints = typing.get_type_hints(RunConfig)
    return {
        name: hint
        for name, hint in hints.items()
        if isinstance(hint, type) and dataclasses.is_dataclass(hint)
    }
