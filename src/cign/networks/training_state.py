"""State that only training needs, separate from the weights for prediction."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import Generic, TypeVar

from torch import Tensor, nn

N = TypeVar("N", bound=nn.Module)


class TrainingState(nn.Module, ABC):
    """State that only training needs: a teacher, importances of parameters.

    Checkpoints contain it, saved models do not.
    """

    @abstractmethod
    def clear(self) -> None:
        """Remove the state, so that the ``state_dict`` has no entries of it."""


class Teacher(TrainingState, Generic[N]):
    """A copy of a network from before the task; false if there is none yet.

    Attributes:
        network: The copy, in evaluation mode.
        version: Number of copies so far.
    """

    network: N | None

    def __init__(self) -> None:
        super().__init__()
        self.network = None
        self.version = 0

    def __bool__(self) -> bool:
        return self.network is not None

    def keep(self, network: N) -> None:
        """Copy the current network; the copy is frozen."""
        self.network = copy.deepcopy(network).requires_grad_(False)
        self.version += 1
        self.train(self.training)

    @property
    def frozen(self) -> N:
        """The copy, in evaluation mode."""
        assert self.network is not None
        return self.network

    def train(self, mode: bool = True) -> Teacher[N]:
        """Leave the copy in evaluation mode."""
        super().train(mode)
        if self.network is not None:
            self.network.eval()
        return self

    def clear(self) -> None:
        """See `TrainingState`."""
        self.network = None


def inference_state(module: nn.Module) -> dict[str, Tensor]:
    """The state of a module without its `TrainingState`, as in saved models."""
    only_training = tuple(
        f"{name}." for name, part in module.named_modules() if isinstance(part, TrainingState)
    )
    return {k: v for k, v in module.state_dict().items() if not k.startswith(only_training)}


def clear_training_state(module: nn.Module) -> None:
    """Remove all `TrainingState` of a module."""
    for part in list(module.modules()):
        if isinstance(part, TrainingState):
            part.clear()
