"""Helpers that know nothing of audio-visual learning."""
