"""A GPU that is none: tensors that say they lie on ``cuda:0``, and lie in main memory.

Whatever a GPU would refuse is refused: an operation that mixes its tensors with those of the CPU
(but for single numbers, as PyTorch allows), and reading values without copying them back.
Autograd is not imitated: nothing can be trained on it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map, tree_map_only, tree_unflatten

GPU = torch.device("cuda", 0)
COPIES = ("aten::_to_copy", "aten::copy_")
VALUES = ("aten::_local_scalar_dense", "aten::equal", "aten::is_nonzero")
# Methods that turn to the GPU's driver before they come to an operation.
READ_BACK = (
    *(torch.Tensor.cpu, torch.Tensor.item, torch.Tensor.tolist, torch.Tensor.__float__),
    *(torch.Tensor.__bool__, torch.Tensor.__int__),
)
ASK_THE_DRIVER = (
    *(torch.Tensor.contiguous, torch.Tensor.to, torch.Tensor.float, torch.Tensor.double),
    *(torch.Tensor.half, torch.Tensor.bfloat16, torch.Tensor.long, *READ_BACK),
    *(torch.Tensor.copy_, torch.Tensor.__getitem__, torch.Tensor.__setitem__),
)


class OnGpu(torch.Tensor):
    """A tensor that says it lies on the GPU."""

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> OnGpu:
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            layout=inner.layout,
            device=GPU,
            requires_grad=False,
        )
        made.held = inner
        return made

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _call(func, args, kwargs or {})

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        with torch._C.DisableTorchFunctionSubclass():
            if func not in ASK_THE_DRIVER or not isinstance(args[0], OnGpu):
                return func(*args, **kwargs)
            told = _told_device(args[1:], kwargs) if func is torch.Tensor.to else None
            args, kwargs = tree_map(_held, (args, kwargs))
            found = func(*args, **kwargs)
            stays = func not in READ_BACK and (told or GPU).type == "cuda"
            return OnGpu(found) if stays and isinstance(found, torch.Tensor) else found

    def __tensor_flatten__(self):  # with these `Module.to` exchanges its tensors for such ones
        return ["held"], None

    @staticmethod
    def __tensor_unflatten__(parts, *_):
        return OnGpu(parts["held"])

    def __deepcopy__(self, memo):
        return _like(self, OnGpu(self.held.clone()))

    def __repr__(self, **_):
        return f"OnGpu({self.held!r})"


def _like(old, new):
    return (
        torch.nn.Parameter(new, old.requires_grad) if isinstance(old, torch.nn.Parameter) else new
    )


def _call(func, args, kwargs):
    """Run an operation on the inner tensors; what it gives lies where its arguments did."""
    name = func._schema.name
    flat, spec = tree_flatten((args, kwargs))
    tensors = [x for x in flat if isinstance(x, torch.Tensor)]
    ours = [x for x in tensors if isinstance(x, OnGpu)]
    asked = kwargs.get("device")
    if name not in COPIES and ours:
        for x in tensors:
            if not isinstance(x, OnGpu) and x.dim() > 0:
                raise RuntimeError(f"{name}: expected all tensors on one device, cuda:0 and cpu")
    flat = [x.held if isinstance(x, OnGpu) else x for x in flat]
    flat = [torch.device("cpu") if isinstance(x, torch.device) else x for x in flat]
    plain_args, plain_kwargs = tree_unflatten(flat, spec)
    found = func(*plain_args, **plain_kwargs)
    if name == "aten::copy_":
        return args[0]
    if name.endswith("_") and ours:  # in place
        return args[0]
    if "out" in kwargs:
        return kwargs["out"]
    there = bool(ours) if asked is None else torch.device(asked).type == "cuda"
    if not there or name in VALUES:
        return found
    return tree_map_only(torch.Tensor, OnGpu, found)


def _told_device(args, kwargs):
    """The device that arguments of `Tensor.to` name, or of a tensor that is among them."""
    for one in (*args, *kwargs.values()):
        if isinstance(one, torch.Tensor):
            return one.device
        if isinstance(one, str | torch.device):
            return torch.device(one)
    return None


def _held(value):
    """A value as the CPU has it."""
    if isinstance(value, OnGpu):
        return value.held
    return "cpu" if isinstance(value, str | torch.device) else value


class _Mode(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _call(func, args, kwargs or {})


@contextlib.contextmanager
def fake_gpu() -> Iterator[None]:
    """Let this machine have one GPU, ``cuda:0``; ``cuda`` alone is no name for it in PyTorch."""
    swaps = torch.__future__.get_swap_module_params_on_conversion()
    with pytest.MonkeyPatch.context() as patch, torch.no_grad(), _Mode():
        patch.setattr(torch.cuda, "_lazy_init", lambda: None)
        patch.setattr(torch.cuda, "is_available", lambda: True)
        patch.setattr(torch.cuda, "device_count", lambda: 1)
        patch.setattr(torch.cuda, "current_device", lambda: 0)
        patch.setattr(torch.cuda, "get_device_name", lambda *_: "Imitation")
        patch.setattr(torch.cuda, "get_rng_state", lambda *_: None)
        patch.setattr(torch.cuda, "set_rng_state", lambda *_: None)
        torch.__future__.set_swap_module_params_on_conversion(True)
        try:
            yield
        finally:
            torch.__future__.set_swap_module_params_on_conversion(swaps)
