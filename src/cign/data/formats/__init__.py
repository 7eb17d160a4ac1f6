"""Readers of the sources that clips come from."""
