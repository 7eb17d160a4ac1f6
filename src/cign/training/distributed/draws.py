"""Random numbers for a process's part of a batch, equal to those of the whole batch.

In a step every random tensor has the clips as its first dimension: dropped branches, crops, noise
of a hard assignment. Each process draws for the whole batch from the step's stream and takes the
rows of its clips, so that a clip's random numbers do not depend on the process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from cign.data.tasks import IntArray

# Functions that create tensors -> position of the sizes among their arguments.
_MAKERS: dict[Any, int] = {torch.rand: 0, torch.randn: 0, torch.randint: 2}
_FILLERS = frozenset({Tensor.exponential_, Tensor.uniform_, Tensor.normal_, Tensor.bernoulli_})
# Other random functions, which no step uses.
_OTHERS = frozenset(
    {torch.rand_like, torch.randn_like, torch.randint_like, torch.randperm, torch.multinomial}
    | {torch.bernoulli, torch.normal, torch.poisson, Tensor.random_, Tensor.cauchy_}
    | {Tensor.geometric_, Tensor.log_normal_, Tensor.multinomial, Tensor.bernoulli}
)
_DROPOUTS = frozenset({torch.nn.functional.dropout, torch.dropout})


class WholeBatchDraws(TorchFunctionMode):
    """Mode that draws random tensors for the whole batch and takes the rows of this process.

    Args:
        rows: Positions of the process's clips in the batch, shape [n].
        total: Number of clips in the batch.
    """

    def __init__(self, rows: IntArray, total: int) -> None:
        super().__init__()
        self._rows, self._total = torch.from_numpy(rows), total

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call a torch function, or its replacement if it draws."""
        kwargs = kwargs or {}
        if func in _MAKERS:
            return self._make(func, args, kwargs)
        if func in _FILLERS:
            return self._fill(func, args, kwargs)
        draws = func in _OTHERS or (func in _DROPOUTS and _drops(args, kwargs))
        assert not draws, f"{func.__name__} draws without a row for each clip"
        return func(*args, **kwargs)

    def _make(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor:
        first = _MAKERS[func]
        given = args[first:]
        size = given[0] if len(given) == 1 and not isinstance(given[0], int) else given
        drawn: Tensor = func(*args[:first], (self._total, *self._checked(func, size)), **kwargs)
        return drawn[self._rows.to(drawn.device)]

    def _fill(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor:
        own: Tensor = args[0]
        whole = own.new_empty((self._total, *self._checked(func, own.shape)))
        func(whole, *args[1:], **kwargs)
        return own.copy_(whole[self._rows.to(own.device)])

    def _checked(self, func: Any, size: Sequence[int]) -> tuple[int, ...]:
        """All dimensions except that of the clips."""
        assert len(size), f"{func.__name__} draws one number for all clips"
        assert size[0] == len(self._rows), (
            f"{func.__name__} draws {tuple(size)} for {len(self._rows)} clips"
        )
        return tuple(size[1:])


def _drops(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Whether a dropout call draws: only with a positive rate and in training."""
    rate = args[1] if len(args) > 1 else kwargs.get("p", 0.5)
    training = args[2] if len(args) > 2 else kwargs.get("training", kwargs.get("train", True))
    return bool(training) and rate > 0
