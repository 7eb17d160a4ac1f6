"""Precomputed features: read from arrays, archives, folders and tables, and checked."""
