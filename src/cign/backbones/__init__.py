"""Backbones: encoders that turn frames and audio into tokens, by name."""
