"""Loggers: callbacks that write the metrics of a run to files or to a tracking service."""
