"""Joint training: in each task, a new network is trained on all clips of all tasks so far."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import ClassVar

from torch import nn

from cign.methods.base import Setup, TaskData
from cign.methods.finetune import Finetune, HeadsOptions
from cign.methods.registry import register_method


@register_method("joint")
class Joint(Finetune):
    """The reference for gradient methods; not an upper bound, closed-form methods may exceed it."""

    uses_memory: ClassVar[bool] = False
    replays_everything: ClassVar[bool] = True
    refused_streams: ClassVar[Mapping[str, str]] = {
        "online": "it trains on all clips again in each task: use --stream tasks for the "
        "reference, or another method, for example er",
    }

    def __init__(self, setup: Setup, options: HeadsOptions) -> None:
        super().__init__(setup, options)
        # End to end, each task starts from the initial encoders of the run.
        self._first_backbone = [copy.deepcopy(setup.backbone)]

    def before_task(self, data: TaskData) -> None:
        """Start from scratch, with room for all classes so far."""
        network = self.build_network()
        network.encoder.backbone = copy.deepcopy(self._first_backbone[0])
        for num_new in self.class_counts:
            network.grow(num_new)
        device = next(self.network.parameters()).device
        self.network: nn.Module = network.to(device)  # type: ignore[assignment]
