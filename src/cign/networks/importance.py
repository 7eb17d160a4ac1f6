"""What each parameter is worth to earlier tasks, and where it should stay."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn

from cign.losses.consolidation import merge_penalties, quadratic_penalty
from cign.networks.training_state import TrainingState

Named = Iterable[tuple[str, nn.Parameter]]


class Importance(TrainingState):
    """Importance and anchor of each parameter, two buffers of its shape.

    They are laid out when a parameter appears and are zero until a task has been learned, so that
    new parameters are free.
    """

    def grow(self, named: Named) -> None:
        """Make room for the parameters that are not known yet."""
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
            yield parameter, self.anchor(name), scale * self.importance(name)

    @property
    def num_bytes(self) -> int:
        """Bytes of all importances and anchors."""
        return sum(buffer.nbytes for buffer in self.buffers())

    def importance(self, name: str) -> Tensor:
        """The importance of a parameter."""
        return self.get_buffer(f"importance/{_key(name)}")

    def anchor(self, name: str) -> Tensor:
        """Where a parameter should stay."""
        return self.get_buffer(f"anchor/{_key(name)}")

    def penalty(self, named: Named, scale: float = 1.0) -> Tensor:
        """Half the squared distance from the anchors, weighted by ``scale`` x importance."""
        return quadratic_penalty(self._triples(named, scale))

    @torch.no_grad()
    def add(self, named: Named, fisher: Mapping[str, Tensor]) -> None:
        """Add a task's penalty to those before it; each keeps its own anchor."""
        for name, parameter in named:
            importance, anchor = self.importance(name), self.anchor(name)
            total, where = merge_penalties(importance, anchor, fisher[name], parameter)
            importance.copy_(total)
            anchor.copy_(where)

    @torch.no_grad()
    def replace(self, named: Named, fisher: Mapping[str, Tensor], decay: float) -> None:
        """Let earlier importance fade by ``decay``, add a task's, and anchor all to here."""
        for name, parameter in named:
            self.importance(name).mul_(decay).add_(fisher[name])
            self.anchor(name).copy_(parameter)


def _key(name: str) -> str:
    """A parameter's name without the dots that buffers must not have."""
    return name.replace(".", "/")
