"""Decoding of media files; this package does not import torch."""

from cign.data.media.decode import PRESETS, Decoded, MediaError, MediaSpec, decode

__all__ = ["PRESETS", "Decoded", "MediaError", "MediaSpec", "decode"]
