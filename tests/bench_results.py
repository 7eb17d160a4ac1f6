"""What two benches must have in common, however they were run."""

import csv

import numpy as np

from cign.metrics.predictions import READINGS, Predictions


def numbers(folder):
    """The table without what differs from time to time."""
    with (folder / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        del row["seconds"], row["peak_memory_mb"]
    return rows


def check_same_scores(ours, theirs):
    """Check that two run folders hold the same scores, bit for bit."""
    both = [Predictions.load(folder / "predictions.parquet").scores for folder in (ours, theirs)]
    for one, other in zip(*both, strict=True):
        for reading in READINGS:
            np.testing.assert_array_equal(one[reading], other[reading])
