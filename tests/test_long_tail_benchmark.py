"""What `benchmarks/long_tail.py` reads from predictions, against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import recall_score

from benchmark_scripts import script
from cign.metrics.predictions import Predictions
from cign.vocabulary import MODALITIES


@pytest.fixture(scope="module")
def long_tail():
    return script("long_tail")


def test_recall_of_each_kind_and_its_draws(long_tail):
    rng = np.random.default_rng(0)
    names, counts = ("a", "b", "c", "d"), np.array([150, 40, 5, 3])
    labels = rng.integers(4, size=300)
    predictions = Predictions(
        clip_ids=[str(i) for i in range(300)],
        labels=[(names[label],) for label in labels],
        class_names=names,
        task_sizes=(2, 2),
    )
    own = np.eye(4)[labels]
    predictions.add_task({modality: rng.random((300, 2)) for modality in MODALITIES})
    scores = {modality: rng.random((300, 4)) + 0.4 * own for modality in MODALITIES}
    predictions.add_task(scores)
    found = long_tail.recalls(predictions, counts, 0)
    drawn = long_tail.recalls(predictions, counts, 500)
    wanted = []
    for modality in MODALITIES:
        each = recall_score(labels, scores[modality].argmax(axis=1), average=None)
        wanted += [each[0], each[1], each[2:].mean()]
    np.testing.assert_allclose(found, 100 * np.array(wanted), atol=1e-9)
    np.testing.assert_allclose(drawn.mean(axis=1), found, atol=1.0)
    assert (drawn.std(axis=1) > 1).all()
