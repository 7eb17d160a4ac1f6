"""Importance of each parameter to earlier tasks, and its anchor."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn

from cign.losses.consolidation import merge_penalties, quadratic_penalty
from cign.networks.training_state import TrainingState

Named = Iterable[tuple[str, nn.Parameter]]


class Importance(TrainingState):
    """Importance and anchor of each parameter, two buffers of its shape.

    They are created when a parameter is added and are zero until a task has been learned, so that
    new parameters are not penalised.
    """

    def grow(self, named: Named) -> None:
        """Add buffers for new parameters."""
        for name, parameter in named:
            if f"importance/{_key(name)}" not in self._buffers:
                zeros = torch.zeros_like(parameter, requires_grad=False)
                self.register_buffer(f"importance/{_key(name)}", zeros)
                self.register_buffer(f"anchor/{_key(name)}", zeros.clone())

    def clear(self) -> None:
        """See `TrainingState`."""
        for name in list(self._buffers):
            delattr(self, name)

    def _triples(self, named: Named, scale: float) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        for name, parameter in named:
            weight = self.importance(name)
            yield parameter, self.anchor(name), weight if scale == 1.0 else scale * weight

    @property
    def num_bytes(self) -> int:
        """Bytes of all importances and anchors."""
        return sum(buffer.nbytes for buffer in self.buffers())

    def importance(self, name: str) -> Tensor:
        """The importance of a parameter."""
        return self.get_buffer(f"importance/{_key(name)}")

    def anchor(self, name: str) -> Tensor:
        """The anchor of a parameter."""
        return self.get_buffer(f"anchor/{_key(name)}")

    def penalty(self, named: Named, scale: float = 1.0) -> Tensor:
        """Half the squared distance from the anchors, weighted by ``scale`` x importance."""
        return quadratic_penalty(self._triples(named, scale))

    @torch.no_grad()
    def add(self, named: Named, fisher: Mapping[str, Tensor]) -> None:
        """Add the penalty of a task, which has its own anchor, to those of earlier tasks."""
        for name, parameter in named:
            importance, anchor = self.importance(name), self.anchor(name)
            merged, new_anchor = merge_penalties(importance, anchor, fisher[name], parameter)
            importance.copy_(merged)
            anchor.copy_(new_anchor)

    @torch.no_grad()
    def replace(self, named: Named, fisher: Mapping[str, Tensor], decay: float) -> None:
        """Scale earlier importance by ``decay``, add that of a task, and move all anchors."""
        for name, parameter in named:
            self.importance(name).mul_(decay).add_(fisher[name])
            self.anchor(name).copy_(parameter)


def _key(name: str) -> str:
    """The name of a parameter without dots, which names of buffers must not contain."""
    return name.replace(".", "/")
