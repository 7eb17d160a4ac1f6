"""A backbone without learned weights: mean colours of a grid, and mean energies of bands."""

import torch
import torch.nn.functional as F

from cign import register_backbone
from cign.backbones.base import Backbone
from cign.data.media.decode import MediaSpec


@register_backbone("flat")
class Flat(Backbone):
    """4 x 4 colours of each frame, and 8 moments of 32 bands."""

    def __init__(self, *, weights=True):
        super().__init__()
        self.spec = MediaSpec(num_frames=1, frame_px=64, rate_hz=16000, window_s=1.0)
        self.input_px = 64
        self.visual_dim, self.visual_grid = 3, (4, 4)
        self.audio_dim, self.audio_grid = 32, (1, 8)
        self.register_buffer("window", torch.hann_window(512))

    def audio_tokens(self, audio):
        """Log energies, shape [B, 8, 32]."""
        x = audio.float() / 32768 if audio.dtype == torch.int16 else audio.float()
        spectrum = torch.stft(x, 512, 256, window=self.window, return_complex=True).abs()
        return F.adaptive_avg_pool2d(torch.log1p(spectrum), (32, 8)).transpose(1, 2)

    def visual_tokens(self, frames):
        """Mean colours in 0..1, shape [B, K * 16, 3]."""
        x = frames.permute(0, 1, 4, 2, 3).flatten(0, 1).float() / 255
        cells = F.adaptive_avg_pool2d(x, self.visual_grid).flatten(2).transpose(1, 2)
        return cells.reshape(len(frames), -1, self.visual_dim)
