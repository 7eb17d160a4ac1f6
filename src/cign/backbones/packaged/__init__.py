"""Encoders whose weights a package index ships: EfficientNet-Lite0 and aiSFX."""
