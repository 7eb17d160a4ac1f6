"""Counts what makes the host wait for a device: reading values, or shapes that depend on them.

Two witnesses. On the CPU every operation is counted whose result the host has to wait for; on the
``meta`` device, where tensors have no values, any of them is an error, while tensors of the host
may be read as ever.
"""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode

# Operators whose result, or its shape, is a matter of values.
WAITING = {
    "_local_scalar_dense",
    "nonzero",
    "nonzero_static",
    "masked_select",
    "is_nonzero",
    "equal",
    "unique_dim",
    "_unique",
    "_unique2",
    "unique_consecutive",
    "repeat_interleave",
    "bincount",
}
# Ways to a tensor's values that pass by the dispatcher on the CPU.
METHODS = ("tolist", "numpy", "cpu", "__array__")


class HostWaits(TorchDispatchMode):
    """Counts within its block.

    Attributes:
        counts: Names of what made the host wait, and how often.
    """

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        self._stack = ExitStack()
        self._paused = False

    def _one_hot(self, *args, real=torch.nn.functional.one_hot, **kwargs):
        """It looks at the labels on a CPU, where that costs no wait, and on no other device."""
        self._paused = True
        try:
            return real(*args, **kwargs)
        finally:
            self._paused = False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name in WAITING and not self._paused:
            self.counts[name] += 1
        if name in ("index", "index_put", "index_put_", "_index_put_impl_"):
            # A mask as an index is turned into numbers first.
            masks = [i for i in args[1] if i is not None and i.dtype in (torch.bool, torch.uint8)]
            self.counts["index by a mask"] += bool(masks)
        return func(*args, **(kwargs or {}))

    def __enter__(self):
        for name in METHODS:
            real = getattr(torch.Tensor, name)

            def counted(tensor, *args, real=real, name=name, **kwargs):
                self.counts[name] += 1
                return real(tensor, *args, **kwargs)

            self._stack.enter_context(mock.patch.object(torch.Tensor, name, counted))
        one_hot = mock.patch.object(torch.nn.functional, "one_hot", self._one_hot)
        self._stack.enter_context(one_hot)
        return super().__enter__()

    def __exit__(self, *error):
        self._stack.close()
        super().__exit__(*error)
        self.counts = +self.counts
