"""State that only training needs, apart from the weights that predict."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import Generic, TypeVar

from torch import Tensor, nn

N = TypeVar("N", bound=nn.Module)


class TrainingState(nn.Module, ABC):
    """State that only training needs: a teacher, importances of parameters.

    It is part of checkpoints and not of saved models.
    """

    @abstractmethod
    def clear(self) -> None:
        """Drop the state, so that the ``state_dict`` has no entry of it."""


class Teacher(TrainingState, Generic[N]):
    """A copy of a network from before the task; false as long as there is none."""

    network: N | None

    def __init__(self) -> None:
        super().__init__()
        self.network = None

    def __bool__(self) -> bool:
        return self.network is not None

    def keep(self, network: N) -> None:
        """Copy a network as it is now; the copy learns nothing."""
        self.network = copy.deepcopy(network).requires_grad_(False)

    @property
    def frozen(self) -> N:
        """The copy, in evaluation mode."""
        assert self.network is not None
        return self.network.eval()

    def clear(self) -> None:
        """See `TrainingState`."""
        self.network = None


def inference_state(module: nn.Module) -> dict[str, Tensor]:
    """The state of a module without its `TrainingState`, as saved models hold it."""
    only_training = tuple(
        f"{name}." for name, part in module.named_modules() if isinstance(part, TrainingState)
    )
    return {k: v for k, v in module.state_dict().items() if not k.startswith(only_training)}


def clear_training_state(module: nn.Module) -> None:
    """Drop what only training needs."""
    for part in list(module.modules()):
        if isinstance(part, TrainingState):
            part.clear()
