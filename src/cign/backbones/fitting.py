"""Bringing a backbone and what is decoded together."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import Any

from cign.backbones.base import Backbone
from cign.data.media.decode import MediaSpec


class FittedBackbone(Backbone):
    """A backbone that can be told what is decoded, within what its networks take."""

    @abstractmethod
    def take(self, spec: MediaSpec) -> None:
        """Take clips decoded in this way from now on.

        Raises:
            InputError: If its networks cannot.
        """

    @property
    def record(self) -> dict[str, Any] | None:
        """What builds the same networks again without their folders; None if a name does."""
        return None


def fit(backbone: Backbone, spec: MediaSpec) -> None:
    """Let a backbone take what is decoded, as far as it can.

    One with fixed input takes another number of frames and nothing else;
    `cign.data.prepare.token_making.check_backbone` and `cign.runs.build.clip_source` refuse what is
    left.

    Raises:
        InputError: If the backbone's networks cannot take it.
    """
    if isinstance(backbone, FittedBackbone):
        backbone.take(spec)
    else:
        backbone.spec = replace(backbone.spec, num_frames=spec.num_frames)


def set_source(backbone: Backbone, source: str) -> None:
    """Note what loads a backbone again: its name with folders in full."""
    vars(backbone)["source"] = source


def source_of(backbone: Backbone) -> str:
    """What loads a backbone again; its name if that was not noted."""
    return str(vars(backbone).get("source", backbone.name))


def record_of(backbone: Backbone) -> dict[str, Any] | None:
    """See `FittedBackbone.record`."""
    return backbone.record if isinstance(backbone, FittedBackbone) else None
