"""Layers shared by networks and backbones."""
