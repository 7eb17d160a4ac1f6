"""Prepare a source: decode in worker processes, write the store, cache tokens, report."""
