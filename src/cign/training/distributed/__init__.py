"""Distributed training: one run on several processes."""
