"""Adapting a backbone to the decoding of clips."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import Any

from cign.backbones.base import Backbone
from cign.data.media.decode import MediaSpec


class FittedBackbone(Backbone):
    """A backbone that can be configured for a decoding, within the limits of its networks."""

    @abstractmethod
    def take(self, spec: MediaSpec) -> None:
        """Configure the backbone for clips decoded with ``spec``.

        Raises:
            InputError: If its networks do not support it.
        """

    @property
    def record(self) -> dict[str, Any] | None:
        """Data to rebuild the networks without their folders; None if the name is sufficient."""
        return None


def fit(backbone: Backbone, spec: MediaSpec) -> None:
    """Configure a backbone for a decoding as far as possible.

    A backbone with fixed input only accepts another number of frames.
    `cign.data.prepare.token_making.check_backbone` and `cign.runs.training_data.clip_source`
    reject all remaining differences.

    Raises:
        InputError: If the networks of the backbone do not support it.
    """
    if isinstance(backbone, FittedBackbone):
        backbone.take(spec)
    else:
        backbone.spec = replace(backbone.spec, num_frames=spec.num_frames)


def set_source(backbone: Backbone, source: str) -> None:
    """Record the source to reload a backbone from: its name with absolute folders."""
    vars(backbone)["source"] = source


def source_of(backbone: Backbone) -> str:
    """The source to reload a backbone from; its name if none was recorded."""
    return str(vars(backbone).get("source", backbone.name))


def record_of(backbone: Backbone) -> dict[str, Any] | None:
    """See `FittedBackbone.record`."""
    return backbone.record if isinstance(backbone, FittedBackbone) else None
