"""Preparing a source: decoding in worker processes, the store, cached tokens, reports."""
