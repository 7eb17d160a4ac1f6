"""The configuration of a run: everything that decides what it computes."""

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
    """Everything that decides what a run computes.

    Attributes:
        method: Name of the method.
        options: Its options, complete.
        tasks: Class names of each task, in the order in which they are taught.
        order: Class-order seed that ``tasks`` came from; recorded, not used again.
        seed: Of the run: weights, shuffling, noise. Independent of ``order``.
        memory: Budget of exemplars, as `MemoryBudget` reads it.
        selection: How exemplars are chosen: ``herding`` or ``random``.
        regime: ``frozen`` on cached tokens or ``end-to-end``.
        backbone: Name of the backbone whose tokens are read or which is trained.
        allow_missing: Whether training takes clips that lack a modality.
        bf16: Whether encoders and transformers multiply in bfloat16.
        device: Where to compute.
        branched_from: ``RUN@TASK`` whose state it began with; empty for most.
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
        """The budget, or 0 for a method that has no use for exemplars."""
        return self.memory if method_class(self.method).uses_memory else "0"

    def on(self, device: str | None) -> RunConfig:
        """This configuration on the device that is asked for; by default on its own.

        Raises:
            InputError: If this machine lacks that device.
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
            InputError: If there is none or it is not such a file.
        """
        path = folder / "config.yaml"
        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8"))
            values["tasks"] = tuple(tuple(group) for group in values["tasks"])
            return cls(**values)
        except FileNotFoundError:
            raise InputError(f"{folder} holds no run: config.yaml is missing") from None
        except (OSError, TypeError, KeyError, ValueError, yaml.YAMLError) as error:
            reason = " ".join(str(error).split())
            raise InputError(f"{path} cannot be read ({reason}): restore it") from None


def refuse_begun(folder: Path) -> None:
    """Refuse a folder that holds a run.

    Raises:
        InputError: If it does.
    """
    if (folder / "config.yaml").exists():
        raise InputError(
            f"{folder} holds a run already: go on with --resume or name another folder"
        )
