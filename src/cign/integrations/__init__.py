"""Connections to software of others."""
