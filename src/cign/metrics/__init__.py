"""Metrics computed from per-clip predictions, independent of methods and models."""
