"""A backbone that provides the input tokens of the transformer of another one."""

from __future__ import annotations

from torch import Tensor

from cign.backbones.base import Backbone
from cign.backbones.blocks import STEM, FrozenBlocks
from cign.errors import InputError


class StemBackbone(Backbone):
    """A backbone whose tokens are the input tokens of the transformer of another one.

    Args:
        inner: A backbone with transformer blocks.

    Raises:
        InputError: If it has no transformer blocks.
    """

    def __init__(self, inner: Backbone) -> None:
        super().__init__()
        if inner.token_blocks() is None:
            raise InputError(
                "unsupported",
                f"backbone {inner.name!r} has no transformer blocks that prompts could enter: "
                "use small-stem",
            )
        self.inner = inner
        self.name = inner.name + STEM
        self.spec, self.input_px = inner.spec, inner.input_px
        self.audio_dim, self.visual_dim = inner.audio_dim, inner.visual_dim
        self.audio_grid, self.visual_grid = inner.audio_grid, inner.visual_grid

    def audio_tokens(self, audio: Tensor) -> Tensor:
        """See `Backbone`."""
        return self.inner.audio_stem(audio)

    def visual_tokens(self, frames: Tensor) -> Tensor:
        """See `Backbone`."""
        return self.inner.visual_stem(frames)

    def token_blocks(self) -> FrozenBlocks:
        """See `Backbone`."""
        blocks = self.inner.token_blocks()
        assert blocks is not None
        return blocks
