"""Metrics: pure functions over predictions."""
