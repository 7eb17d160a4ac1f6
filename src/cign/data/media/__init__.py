"""Decoding of media files; nothing here imports torch."""

from cign.data.media.decode import PRESETS, Decoded, MediaError, MediaSpec, decode

__all__ = ["PRESETS", "Decoded", "MediaError", "MediaSpec", "decode"]
