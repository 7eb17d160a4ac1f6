"""AV-CIL at the start of its second task, on clips of two frames."""

from __future__ import annotations

import dataclasses

import torch

from cign.methods import method_class
from cign.methods.base import Setup
from cign.utils.options import configure
from toy import SHAPE

FRAMES = dataclasses.replace(SHAPE, visual_grid=(1, 2))  # two frames of two tokens


def grown(options=None):
    """After a first task of 3 classes, at the start of a second one of 2; two frames a clip."""
    cls = method_class("av_cil")
    filled = configure(cls.Options, options or {}, "options")
    method = cls(Setup(shape=FRAMES), filled)
    method.grow(3)
    method.grow(2)
    return method


def moved(method):
    """Weights as after some steps of the second task, the model before the task unchanged."""
    with torch.no_grad():
        for name, parameter in method.named_parameters():
            if parameter.requires_grad and not name.startswith("teacher"):
                parameter.add_(0.3 * torch.randn_like(parameter))
    return method
