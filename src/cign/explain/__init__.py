"""Figures and videos of predictions, with spatial and temporal localization maps."""
