"""The configuration of a run: everything that determines its results."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from cign.data.exemplar_memory import MemoryBudget
from cign.errors import InputError, one_of
from cign.methods import method_class
from cign.utils.devices import AUTO, resolve_device
from cign.utils.files import write_text
from cign.vocabulary import REGIMES


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything that determines the results of a run.

    Attributes:
        method: Name of the method.
        options: All options of the method.
        tasks: Class names of each task, in the order in which they are taught.
        order: Class-order seed that ``tasks`` came from; recorded, not used again.
        seed: Seed of weights, shuffling and noise. Independent of ``order``.
        memory: Budget of exemplars, as `MemoryBudget` reads it.
        selection: How exemplars are chosen: ``herding`` or ``random``.
        regime: ``frozen`` on cached tokens or ``end-to-end``.
        backbone: Name of the backbone whose tokens are read or which is trained.
        allow_missing: Whether training takes clips that lack a modality.
        bf16: Whether encoders and transformers multiply in bfloat16.
        device: Compute device.
        branched_from: ``RUN@TASK`` whose state it started from; empty for other runs.
    """

    method: str
    options: dict[str, Any] = field(default_factory=dict)
    tasks: tuple[tuple[str, ...], ...] = ()
    order: int = 0
    seed: int = 0
    memory: str = "0"
    selection: str = "herding"
    regime: str = "frozen"
    backbone: str = "small"
    allow_missing: bool = False
    bf16: bool = False
    device: str = "cpu"
    branched_from: str = ""

    def __post_init__(self) -> None:
        if self.regime not in REGIMES:
            raise one_of(self.regime, REGIMES, "regime")
        cls = method_class(self.method)
        if self.regime not in cls.regimes:
            raise InputError(
                f"method {self.method} does not run in regime {self.regime}: "
                f"use --regime {cls.regimes[0]}"
            )
        if self.seed < 0:
            raise InputError(f"seed {self.seed} is negative: use 0 or more")
        MemoryBudget.parse(self.memory)

    @property
    def effective_memory(self) -> str:
        """The budget, or 0 for a method that does not use exemplars."""
        return self.memory if method_class(self.method).uses_memory else "0"

    def on(self, device: str | None) -> RunConfig:
        """This configuration on the given device; None and ``auto`` leave its own device.

        Raises:
            InputError: If this machine does not have the device.
        """
        own = device in (None, AUTO)
        return dataclasses.replace(self, device=resolve_device(self.device if own else device))

    def save(self, folder: Path) -> None:
        """Write ``config.yaml``."""
        values = dataclasses.asdict(self)
        values["tasks"] = [list(group) for group in self.tasks]
        write_text(folder / "config.yaml", yaml.safe_dump(values, sort_keys=False))

    @classmethod
    def load(cls, folder: Path) -> RunConfig:
        """Read ``config.yaml``.

        Raises:
            InputError: If the file is missing or invalid.
        """
        path = folder / "config.yaml"
        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8"))
            values["tasks"] = tuple(tuple(group) for group in values["tasks"])
            return cls(**values)
        except FileNotFoundError:
            raise InputError(f"{folder} is not a run folder: config.yaml is missing") from None
        except (OSError, TypeError, KeyError, ValueError, yaml.YAMLError) as error:
            reason = " ".join(str(error).split())
            raise InputError(f"{path} cannot be read ({reason}): restore it") from None


def refuse_begun(folder: Path) -> None:
    """Refuse a folder that already contains a run.

    Raises:
        InputError: If it contains one.
    """
    if (folder / "config.yaml").exists():
        raise InputError(
            f"{folder} already contains a run: resume it with --resume or name another folder"
        )
