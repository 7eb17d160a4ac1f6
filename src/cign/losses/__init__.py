"""Losses: pure functions, each with a reference test."""
