"""Backbones of transformers: a visual network and an audio network, by hub name or folder."""
