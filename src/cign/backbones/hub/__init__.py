"""Backbones of transformers: a picture network and a sound network, by hub name or folder."""
