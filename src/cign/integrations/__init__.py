"""Connections to other software."""
