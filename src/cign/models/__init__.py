"""Spectrogram, encoders, class tokens, grouping and heads."""
