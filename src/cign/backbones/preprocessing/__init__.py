"""Spectrograms and other input transforms, on tensors."""
