"""Prediction on files, evaluation on stores, localization maps."""
