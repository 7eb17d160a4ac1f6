"""What two benches must have in common, however they were run."""

import csv

import numpy as np

from cign.metrics.predictions import Predictions
from cign.vocabulary import MODALITIES


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
        for modality in MODALITIES:
            np.testing.assert_array_equal(one[modality], other[modality])
