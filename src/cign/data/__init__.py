"""Clips, media, stores, tasks and the embedded benchmark."""
