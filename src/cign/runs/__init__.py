"""Runs: configuration, construction, folder, record, branching."""
